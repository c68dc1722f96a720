// The speed of reading usage from replies, in bytes per second, beside that of memchr and of jansson on the
// same bytes.
#include "core/request_facts.h"
#include "core/usage.h"

#include <benchmark/benchmark.h>

#include <cstring>
#include <dlfcn.h>
#include <string>

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

void read_usage(benchmark::State& state, reply_form form, const std::string& text)
{
    usage_reader reader;
    for (auto _ : state) {
        reader.start(form, 1);
        in_reads(text, [&](std::string_view piece) { reader.feed(piece); });
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

void parse_events(benchmark::State& state, bool events, const std::string& text)
{
    const jansson lib;
    if (lib.load == nullptr || lib.remove == nullptr) {
        state.SkipWithError("no libjansson.so.4");
        return;
    }
    for (auto _ : state) {
        std::string_view rest = text;
        while (!rest.empty()) {
            const size_t size = events ? rest.find("\n\n") : rest.size();
            const std::string_view json = events ? rest.substr(6, size - 6) : rest;
            if (void* const value = lib.load(json.data(), json.size(), 0, nullptr))
                lib.remove(value);
            rest.remove_prefix(events ? size + 2 : size);
        }
    }
    counted(state, text);
}

} // namespace

int main(int argc, char** argv)
{
    constexpr size_t size = 4u << 20;
    static const std::string vllm = vllm_stream(size);
    static const std::string openai = openai_stream(size);
    static const std::string continuous = continuous_stream(size);
    static const std::string crlf = crlf_stream(size);
    static const std::string floats = embeddings(size);
    static const std::string image = base64_request(size);

    const auto add = [](const char* name, auto&& run) { benchmark::RegisterBenchmark(name, run); };
    add("usage/sse/vllm", [](auto& s) { read_usage(s, reply_form::sse, vllm); });
    add("usage/sse/openai_null_usage", [](auto& s) { read_usage(s, reply_form::sse, openai); });
    add("usage/sse/continuous_usage", [](auto& s) { read_usage(s, reply_form::sse, continuous); });
    add("usage/sse/crlf", [](auto& s) { read_usage(s, reply_form::sse, crlf); });
    add("usage/json/embeddings", [](auto& s) { read_usage(s, reply_form::json, floats); });
    add("facts/base64_image", [](auto& s) { read_facts(s, image); });
    add("memchr_lines/sse/vllm", [](auto& s) { find_lines(s, vllm); });
    add("memchr_nothing/sse/vllm", [](auto& s) { find_nothing(s, vllm); });
    add("jansson/sse/vllm", [](auto& s) { parse_events(s, true, vllm); });
    add("jansson/json/embeddings", [](auto& s) { parse_events(s, false, floats); });
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
