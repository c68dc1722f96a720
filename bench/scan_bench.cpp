// The speed of reading usage from replies, in bytes per second, beside that of memchr, memmem, a loop over
// the bytes and jansson on the same bytes. Ends with a table of the ratios. --values=FILE: also as rows for
// run.sh.
#include "core/reply/usage.h"
#include "core/request/request_facts.h"

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <string>
#include <vector>

namespace {

using namespace llm;

constexpr size_t read_size = 16384; // nginx's usual proxy buffer for a busy reply

std::string repeated(size_t size, auto&& make)
{
    std::string all;
    for (unsigned i = 0; all.size() < size; ++i)
        all += make(i);
    return all;
}

std::string word(unsigned i)
{
    static constexpr const char* words[] = {" the",          " stream", " of",   " tokens\\n",
                                            " \\\"said\\\"", " über",   " 你好", ","};
    return words[i * 2654435761u >> 29];
}

constexpr char chunk_head[] =
    R"({"id":"chatcmpl-9f8c2d1e7a6b4c3d","object":"chat.completion.chunk","created":1767225600,)"
    R"("model":"qwen3-32b",)";

std::string final_event(bool spaced = false)
{
    return std::string("data: ") + chunk_head
           + (spaced
                  ? R"("choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 10}})"
                  : R"("choices":[],"usage":{"prompt_tokens":7,"total_tokens":17,"completion_tokens":10}})")
           + "\n\ndata: [DONE]\n\n";
}

// vLLM: nothing but the delta.
std::string vllm_stream(size_t size)
{
    return repeated(size,
                    [](unsigned i) {
                        return std::string("data: ") + chunk_head
                               + R"("choices":[{"index":0,"delta":{"content":")" + word(i)
                               + R"("},"logprobs":null,"finish_reason":null}]})" + "\n\n";
                    })
           + final_event();
}

// OpenAI with include_usage: null in each event.
std::string openai_stream(size_t size)
{
    return repeated(size,
                    [](unsigned i) {
                        return std::string("data: ") + chunk_head
                               + R"("choices":[{"index":0,"delta":{"content":")" + word(i)
                               + R"("},"finish_reason":null}],"usage":null,"obfuscation":"x9Kq2"})" + "\n\n";
                    })
           + final_event();
}

// Usage in each event: all are read.
std::string continuous_stream(size_t size)
{
    return repeated(size,
                    [](unsigned i) {
                        return std::string("data: ") + chunk_head
                               + R"("choices":[{"index":0,"delta":{"content":")" + word(i)
                               + R"("},"finish_reason":null}],"usage":{"prompt_tokens":7,"total_tokens":)"
                               + std::to_string(7 + i) + R"(,"completion_tokens":)" + std::to_string(i)
                               + "}}\n\n";
                    })
           + final_event();
}

std::string anthropic_stream(size_t size)
{
    return "event: message_start\ndata: "
           R"({"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],)"
           R"("model":"m","usage":{"input_tokens":7,"output_tokens":1}}})"
           "\n\n"
           "event: content_block_start\ndata: "
           R"({"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}})"
           "\n\n"
           + repeated(
               size,
               [](unsigned i) {
                   return std::string("event: content_block_delta\ndata: ")
                          + R"({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":")"
                          + word(i) + "\"}}\n\n";
               })
           + "event: message_delta\ndata: "
             R"({"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":10}})"
             "\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
}

std::string responses_stream(size_t size)
{
    return repeated(size,
                    [](unsigned i) {
                        return std::string("event: response.output_text.delta\ndata: ")
                               + R"({"type":"response.output_text.delta","sequence_number":)"
                               + std::to_string(i) + R"(,"item_id":"msg_9f8c2d1e7a6b","output_index":0,)"
                               + R"("content_index":0,"delta":")" + word(i)
                               + R"(","logprobs":[],"obfuscation":"x9Kq2"})" + "\n\n";
                    })
           + "event: response.completed\ndata: "
             R"({"type":"response.completed","response":{"id":"r","status":"completed","usage":)"
             R"({"input_tokens":7,"output_tokens":10,"total_tokens":17}}})"
             "\n\n";
}

std::string ollama_stream(size_t size)
{
    return repeated(size,
                    [](unsigned i) {
                        return std::string(
                                   R"({"model":"llama3.2","created_at":"2026-01-01T00:00:00.123456789Z",)")
                               + R"("message":{"role":"assistant","content":")" + word(i)
                               + "\"},\"done\":false}\n";
                    })
           + R"({"model":"llama3.2","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":""},)"
             R"("done":true,"done_reason":"stop","total_duration":9,"prompt_eval_count":7,"eval_count":10})"
             "\n";
}

std::string crlf_stream(size_t size)
{
    std::string all;
    for (const char c : vllm_stream(size))
        all += c == '\n' ? std::string("\r\n") : std::string(1, c);
    return all;
}

std::string embeddings(size_t size)
{
    return R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1)"
           + repeated(size, [](unsigned i) { return ",-0.0" + std::to_string(i * 2654435761u); })
           + R"(]}],"model":"m","usage":{"prompt_tokens":7,"total_tokens":7}})";
}

std::string base64_request(size_t size)
{
    return R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,)"
           + repeated(size, [](unsigned i) { return std::to_string(i) + "AbC/+"; })
           + R"("}}]}],"model":"qwen3-32b","stream":true,"max_tokens":100})";
}

void counted(benchmark::State& state, const std::string& text)
{
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}

template <typename Feed>
void in_reads(std::string_view text, Feed&& feed)
{
    for (; !text.empty(); text.remove_prefix(text.size() < read_size ? text.size() : read_size))
        feed(text.substr(0, read_size));
}

void read_usage(benchmark::State& state, reply_form form, strip_what strip, const std::string& text)
{
    usage_reader reader;
    const erase_sink erase{[](void*, uint64_t begin, uint64_t end) { benchmark::DoNotOptimize(begin + end); },
                           nullptr};
    for (auto _ : state) {
        reader.start(form, 1, strip);
        in_reads(text, [&](std::string_view piece) { reader.feed(piece, erase); });
        reader.finish();
        if (reader.counts().prompt != 7)
            state.SkipWithError("no usage");
    }
    counted(state, text);
}

void read_facts(benchmark::State& state, const std::string& text)
{
    for (auto _ : state) {
        request_facts facts;
        in_reads(text, [&](std::string_view piece) { facts.feed(piece); });
        if (facts.finish() != body_fault::none)
            state.SkipWithError("fault");
    }
    counted(state, text);
}

// Each line's end: the least that a reader of events can do.
void find_lines(benchmark::State& state, const std::string& text)
{
    for (auto _ : state) {
        in_reads(text, [](std::string_view piece) {
            const char* p = piece.data();
            const char* const end = p + piece.size();
            while (p != end
                   && (p = static_cast<const char*>(memchr(p, '\n', static_cast<size_t>(end - p))))
                          != nullptr)
                benchmark::DoNotOptimize(++p);
        });
    }
    counted(state, text);
}

// A byte that does not come: what memory allows.
void find_nothing(benchmark::State& state, const std::string& text)
{
    for (auto _ : state)
        in_reads(text, [](std::string_view piece) {
            benchmark::DoNotOptimize(memchr(piece.data(), '\1', piece.size()));
        });
    counted(state, text);
}

// The name alone, wherever it stands.
void find_name(benchmark::State& state, const std::string& text)
{
    constexpr std::string_view name = "\"usage\"";
    for (auto _ : state)
        in_reads(text, [&](std::string_view piece) {
            const char* p = piece.data();
            const char* const end = p + piece.size();
            while ((p = static_cast<const char*>(
                        memmem(p, static_cast<size_t>(end - p), name.data(), name.size())))
                   != nullptr)
                benchmark::DoNotOptimize(++p);
        });
    counted(state, text);
}

// A step for each byte: in a string or not, after a backslash or not, how deep.
void walk_bytes(benchmark::State& state, const std::string& text)
{
    for (auto _ : state) {
        unsigned depth = 0;
        bool inside = false;
        bool escaped = false;
        in_reads(text, [&](std::string_view piece) {
            for (const char c : piece) {
                if (inside) {
                    inside = escaped || c != '"';
                    escaped = !escaped && c == '\\';
                } else if (c == '"') {
                    inside = true;
                } else if (c == '{') {
                    ++depth;
                } else if (c == '}') {
                    --depth;
                }
            }
        });
        benchmark::DoNotOptimize(depth);
    }
    counted(state, text);
}

// Opened at run time: the core, which this is built with, has no JSON library.
struct jansson {
    void* library = dlopen("libjansson.so.4", RTLD_NOW);
    void* (*load)(const char*, size_t, size_t,
                  void*) = symbol<void* (*)(const char*, size_t, size_t, void*)>("json_loadb");
    void (*remove)(void*) = symbol<void (*)(void*)>("json_delete");

    template <typename F>
    F symbol(const char* name) const
    {
        return library == nullptr ? nullptr : reinterpret_cast<F>(dlsym(library, name));
    }
};

enum class cover { whole, events, crlf_events, lines };

void parse_events(benchmark::State& state, cover in, const std::string& text)
{
    const jansson lib;
    if (lib.load == nullptr || lib.remove == nullptr) {
        state.SkipWithError("no libjansson.so.4");
        return;
    }
    const std::string_view border = in == cover::events        ? "\n\n"
                                    : in == cover::crlf_events ? "\r\n\r\n"
                                                               : "\n";
    for (auto _ : state) {
        std::string_view rest = text;
        while (!rest.empty()) {
            const size_t size = in == cover::whole ? rest.size() : rest.find(border);
            std::string_view json = rest.substr(0, size);
            if (in == cover::events || in == cover::crlf_events)
                json.remove_prefix(json.find("data: ") + 6);
            if (void* const value = lib.load(json.data(), json.size(), 0, nullptr))
                lib.remove(value);
            rest.remove_prefix(in == cover::whole ? size : size + border.size());
        }
    }
    counted(state, text);
}

// What was measured, for the table.
class speeds : public benchmark::ConsoleReporter {
public:
    void ReportRuns(const std::vector<Run>& runs) override
    {
        for (const Run& run : runs) {
            const auto at = run.counters.find("bytes_per_second");
            if (at != run.counters.end())
                of_[run.run_name.function_name] = at->second / 1e9;
        }
        ConsoleReporter::ReportRuns(runs);
    }
    double of(const std::string& name) const
    {
        const auto at = of_.find(name);
        return at == of_.end() ? 0 : at->second;
    }

private:
    std::map<std::string, double> of_;
};

struct stream {
    const char* name;
    reply_form form;
    cover in;
    strip_what strip;
    bool judged; // it is what servers send, and has a target
    std::string text;
};

std::vector<stream> all_streams()
{
    constexpr size_t size = 4u << 20;
    using form = reply_form;
    using strip = strip_what;
    return {
        {"vllm", form::sse, cover::events, strip::nothing, true, vllm_stream(size)},
        {"vllm_strip", form::sse, cover::events, strip::all, true, vllm_stream(size)},
        {"null_usage", form::sse, cover::events, strip::nothing, true, openai_stream(size)},
        {"null_usage_strip", form::sse, cover::events, strip::all, true, openai_stream(size)},
        {"continuous", form::sse, cover::events, strip::nothing, true, continuous_stream(size)},
        {"continuous_strip", form::sse, cover::events, strip::all, true, continuous_stream(size)},
        {"anthropic", form::sse, cover::events, strip::nothing, true, anthropic_stream(size)},
        {"responses", form::sse, cover::events, strip::nothing, true, responses_stream(size)},
        {"ollama_lines", form::lines, cover::lines, strip::nothing, true, ollama_stream(size)},
        {"embeddings", form::json, cover::whole, strip::nothing, true, embeddings(size)},
        {"crlf", form::sse, cover::crlf_events, strip::nothing, false, crlf_stream(size)},
    };
}

constexpr double least_gigabytes = 2;
constexpr double least_to_jansson = 5;

void print_table(const std::vector<stream>& streams, const speeds& measured, FILE* values)
{
    std::printf("\n%-18s %6s %9s %8s %8s %8s %8s %8s  %s\n", "GB/s", "llm", "x jansson", "jansson",
                "/ memchr", "/ lines", "/ memmem", "/ bytes", "target: 2 GB/s, or 5 x jansson");
    for (const stream& s : streams) {
        const auto of = [&](const char* what) { return measured.of(std::string(what) + "/" + s.name); };
        const auto ratio = [&](const char* what) { return of(what) == 0 ? 0 : of("usage") / of(what); };
        const bool met = of("usage") >= least_gigabytes || ratio("jansson") >= least_to_jansson;
        const char* const verdict = !s.judged ? "" : met ? "ok" : "MISSED";
        std::printf("%-18s %6.2f %9.1f %8.2f %8.2f %8.2f %8.2f %8.2f  %s\n", s.name, of("usage"),
                    ratio("jansson"), of("jansson"), ratio("memchr"), ratio("memchr_lines"), ratio("memmem"),
                    ratio("bytes"), verdict);
        if (values != nullptr)
            std::fprintf(values, "scan,llm,%s: %.1f x jansson; %.2f of memchr,%.2f,GB/s,,>= 2 or 5 x,%s,\n",
                         s.name, ratio("jansson"), ratio("memchr"), of("usage"), *verdict ? verdict : "-");
    }
}

} // namespace

int main(int argc, char** argv)
{
    static const std::vector<stream> streams = all_streams();
    static const std::string image = base64_request(4u << 20);

    FILE* values = nullptr;
    constexpr std::string_view values_option = "--values=";
    if (std::string_view(argv[argc - 1]).starts_with(values_option)) {
        values = std::fopen(argv[--argc] + values_option.size(), "w");
    }

    const auto add = [](const std::string& name, auto&& run) {
        benchmark::RegisterBenchmark(name.c_str(), run)->MinTime(0.1);
    };
    for (const stream& s : streams) {
        const std::string name = std::string("/") + s.name;
        add("usage" + name, [&s](auto& state) { read_usage(state, s.form, s.strip, s.text); });
        add("memchr" + name, [&s](auto& state) { find_nothing(state, s.text); });
        add("memchr_lines" + name, [&s](auto& state) { find_lines(state, s.text); });
        add("memmem" + name, [&s](auto& state) { find_name(state, s.text); });
        add("bytes" + name, [&s](auto& state) { walk_bytes(state, s.text); });
        add("jansson" + name, [&s](auto& state) { parse_events(state, s.in, s.text); });
    }
    add("facts/base64_image", [](auto& state) { read_facts(state, image); });
    benchmark::Initialize(&argc, argv);
    speeds measured;
    benchmark::RunSpecifiedBenchmarks(&measured);
    print_table(streams, measured, values);
    return values != nullptr && std::fclose(values) != 0 ? 1 : 0;
}
