// A stream of plain events (see plain_events.h), made from any bytes: each byte chooses something. Bytes that
// are mutated are hardly ever a stream that a server would send.
#pragma once

#include "byte_choices.h"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

class plain_stream : private byte_choices {
public:
    using byte_choices::byte_choices;

    std::string text()
    {
        std::string all;
        const unsigned form = next(4);
        const unsigned usages = next(3);
        const bool has_logprobs = next(2) != 0;
        const bool pads = next(2) != 0;
        while (!none_left() && all.size() < 6000) {
            switch (next(24)) {
            case 0:
                all += ": ping\n\n";
                continue;
            case 1:
                all += "data: [DONE]\n\n";
                continue;
            case 2:
                all += "data: {\"choices\":[]," + usage() + "}\n\n";
                continue;
            case 3:
                all += "data: {\"error\":{\"message\":\"" + some_text() + "\"}}\n\n";
                continue;
            default:
                break;
            }
            const std::string logprobs =
                has_logprobs ? "\"logprobs\":{\"content\":[{\"token\":\"" + some_text() + "\",\"logprob\":-"
                                   + std::to_string(next(200)) + ".5,\"top_logprobs\":[]}]},"
                : next(8) == 0 ? ""
                               : "\"logprobs\":null,";
            const std::string finish = "\"finish_reason\":" + finish_reason();
            const std::string index = "\"index\":" + std::to_string(next(12) == 0 ? next(12) : 0);
            const std::string created = "\"created\":" + std::to_string(next(9) == 0 ? next(200) : 10);
            const std::string more =
                (usages == 0   ? ""
                 : usages == 1 ? ",\"usage\":null"
                               : one_of({",\"provider\":\"p\"", ",\"error\":null"}) + "," + usage())
                + one_of({",\"model\":\"m\"", ", \"service_tier\": \"default\"", ",\"timings\":null",
                          ",\"object\":\"chat.completion.chunk\""})
                + (pads ? ",\"obfuscation\":\"" + std::string(next(40), 'o') + "\"" : "");
            std::string choice;
            switch (form) {
            case 0: // most
                choice = index + "," + delta() + "," + logprobs + finish;
                break;
            case 1: // llama.cpp's
                choice = finish + "," + logprobs + index + "," + delta();
                break;
            case 2: // of completions
                choice = "\"text\":\"" + some_text() + "\"," + logprobs + index + "," + finish;
                break;
            default: // without an end that is null
                choice =
                    delta() + "," + logprobs + index + (next(8) == 0 ? ",\"finish_reason\":\"stop\"" : "");
                break;
            }
            all += "data: {\"id\":\"c\"," + created + ",\"choices\":[{" + choice + "}]" + more + "}\n\n";
        }
        return all;
    }

private:
    std::string finish_reason()
    {
        static constexpr const char* reasons[] = {"\"stop\"", "\"length\"", "\"\"", "\"eos\"",
                                                  "\"tool_calls\""};
        return next(4) == 0 ? reasons[next(5)] : "null";
    }
    std::string usage()
    {
        static constexpr const char* others[] = {
            "",
            "",
            ",\"total_tokens\":250",
            ",\"prompt_tokens_details\":{\"cached_tokens\":3,\"audio_tokens\":0}",
            ",\"prompt_tokens_details\":null, \"cost\": 0.25,\"is_byok\":false",
            ",\"completion_tokens_details\":{\"reasoning_tokens\":7},\"input_tokens\":\"40\"",
            ",\"total_tokens\":null,\"output_tokens\":2.9",
            ",\"prompt_tokens_details\":9,\"server_tool_use\":{\"x\":[1]}",
        };
        return "\"usage\":{\"prompt_tokens\":" + std::to_string(next(30))
               + ",\"completion_tokens\":" + std::to_string(next(200)) + others[next(8)] + "}";
    }
    // A member that says nothing, or null; each stands at one place only.
    std::string one_of(std::initializer_list<const char*> members)
    {
        const unsigned n = next(8);
        return n < members.size() ? members.begin()[n] : "";
    }
    std::string delta()
    {
        static constexpr const char* names[] = {"content", "content", "content", "reasoning",
                                                "reasoning_content"};
        switch (next(12)) {
        case 0:
            return "\"delta\":{}";
        case 1:
            return "\"delta\":{\"role\":\"assistant\",\"content\":\"" + some_text() + "\"}";
        case 2:
            return "\"delta\":{\"tool_calls\":[{\"index\":" + std::to_string(next(3) / 2)
                   + ",\"function\":{\"arguments\":\"" + some_text() + "\"}}]}";
        case 3:
            return "\"delta\":{\"content\":\"" + some_text() + "\",\"reasoning\":null}";
        case 4:
            return "\"delta\":{\"content\":null,\"reasoning\":\"" + some_text() + "\"}";
        default:
            return std::string("\"delta\":{\"") + names[next(5)] + "\":\"" + some_text() + "\"}";
        }
    }
};
