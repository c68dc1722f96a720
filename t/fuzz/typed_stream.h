// A stream of named events, as Anthropic's and the Responses API's, made from any bytes: each byte chooses
// something. Nearly all of it is what servers send, and all is JSON.
#pragma once

#include "byte_choices.h"
#include "plain_events.h"

#include <cstdint>
#include <string>
#include <string_view>

class typed_stream : private byte_choices {
public:
    using byte_choices::byte_choices;

    std::string text()
    {
        std::string all;
        const bool is_anthropic = next(2) == 0;
        const bool has_logprobs = next(4) == 0;
        const bool pads = next(2) != 0;
        odd_ = {};
        for (unsigned n = 0; !none_left() && all.size() < 6000; ++n) {
            const bool mixes = next(16) == 0;
            const size_t begin = all.size();
            is_odd_ = false;
            all += is_anthropic != mixes ? anthropic() : responses(n * 37, has_logprobs, pads);
            odd_.count += is_odd_ ? 1 : 0;
            odd_.bytes += is_odd_ ? all.size() - begin : 0;
        }
        return all;
    }
    // Of the last text: events with text that is not where others of their kind have it.
    const odd_events& odd() const { return odd_; }

private:
    std::string event(const std::string& type, const std::string& members)
    {
        static constexpr const char* fronts[] = {"event: ", "event:", "id: 1\nevent: "};
        static constexpr const char* ends[] = {"\n\n",
                                               "\r\n\r\n",
                                               " \n\n",
                                               "\n: x\n\n",
                                               "\n\r\n",
                                               "\r\r",
                                               "\n\n: keep-alive\n\n",
                                               "\ndata: {\"type\":\"message_stop\"}\n\n"};
        const unsigned odd = next(16);
        return fronts[odd < 3 ? odd : 0] + type + "\ndata: {\"type\":" + (odd == 3 ? " \"" : "\"") + type
               + "\"," + members + "}" + ends[odd > 7 ? odd - 8 : 0] + (next(16) == 0 ? chunk() : "");
    }
    // Of another kind of stream.
    std::string chunk()
    {
        static constexpr const char* finishes[] = {"null", "\"stop\""};
        return std::string(R"(data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":)")
               + finishes[next(2)] + "}],\"obfuscation\":\"" + std::string(next(20), 'o') + "\"}\n\n";
    }
    // What hardly any event has; the first two are text.
    std::string odd_member()
    {
        static constexpr const char* members[] = {
            ",\"text\":\"more\"",
            ",\"delta\":\"more\"",
            ",\"usage\":{\"input_tokens\":3,\"output_tokens\":9}",
            ",\"error\":{\"message\":\"x\"}",
            ",\"eval_count\":7",
            ",\"stop\":true",
            ",\"item_id\":\"a\\u0062\"",
            ",\"\\u0075sage\":{\"output_tokens\":5}",
            ", \"output_index\" : -1.5",
            ",\"obfuscation\":null",
            ",\"choices\":[]",
            ",\"usageMetadata\":{\"candidatesTokenCount\":4}",
        };
        const unsigned n = next(12) == 0 ? next(12) : 12;
        is_odd_ = is_odd_ || n < 2;
        return n < 12 ? members[n] : "";
    }
    std::string anthropic()
    {
        static constexpr const char* kinds[] = {
            "text_delta\",\"text",           "text_delta\",\"text",
            "thinking_delta\",\"thinking",   "input_json_delta\",\"partial_json",
            "signature_delta\",\"signature", "text_delta\",\"te\\u0078t"};
        switch (next(16)) {
        case 0:
            return event("message_start", "\"message\":{\"content\":[],\"usage\":{\"input_tokens\":"
                                              + std::to_string(next(99)) + ",\"output_tokens\":1}}");
        case 1:
            return event("content_block_start",
                         "\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}");
        case 2:
            return event("message_delta",
                         "\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":"
                             + std::to_string(next(200)) + "}");
        case 3:
            return event("message_stop", "\"x\":null");
        case 4:
            return event("ping", "\"x\":0");
        default:
            return event("content_block_delta",
                         "\"index\":" + std::to_string(next(3)) + ",\"delta\":{\"type\":\"" + kinds[next(6)]
                             + "\":\"" + some_text() + "\"" + (next(20) == 0 ? ",\"stop_reason\":\"x\"" : "")
                             + "}" + odd_member());
        }
    }
    std::string responses(unsigned sequence, bool has_logprobs, bool pads)
    {
        static constexpr const char* kinds[] = {"output_text",
                                                "output_text",
                                                "output_text",
                                                "reasoning_text",
                                                "reasoning_summary_text",
                                                "function_call_arguments",
                                                "audio"};
        static constexpr const char* ends[] = {"completed", "incomplete", "failed", "in_progress"};
        switch (next(16)) {
        case 0: {
            const std::string end = ends[next(4)];
            return event("response." + end, "\"response\":{\"status\":\"" + end
                                                + "\",\"usage\":{\"input_tokens\":7,\"output_tokens\":"
                                                + std::to_string(next(200)) + "}}");
        }
        case 1:
            return event("response.output_text.done", "\"text\":\"" + some_text() + "\"");
        case 2:
            return event("response.created", "\"response\":{\"usage\":null}");
        default:
            break;
        }
        const std::string delta = "\"delta\":\"" + some_text() + "\"";
        const std::string place = "\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0";
        const std::string number = "\"sequence_number\":" + std::to_string(sequence);
        std::string members =
            next(2) == 0 ? number + "," + place + "," + delta : place + "," + delta + "," + number;
        members += has_logprobs   ? ",\"logprobs\":[{\"token\":\"" + some_text() + "\",\"logprob\":-1.5}]"
                   : next(3) == 0 ? ",\"logprobs\":[]"
                                  : "";
        members += pads ? ",\"obfuscation\":\"" + std::string(next(20), 'o') + "\"" : "";
        return event("response." + std::string(kinds[next(7)]) + ".delta", members + odd_member());
    }

    odd_events odd_;
    bool is_odd_ = false;
};
