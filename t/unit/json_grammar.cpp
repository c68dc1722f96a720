// Bodies of requests with random mistakes in them: what the gateway says of each, beside jansson.
//
//   json_grammar BODIES SEED | python3 json_grammar.py
//
// Writes each body of which the two think otherwise, for a third parser to decide: "+" where the gateway
// takes it,
// "-" where it does not, and the body in hexadecimal digits. At the end the numbers of both verdicts. Ends
// with 1 if a body is another one in pieces.
#include "core/request/request_facts.h"

#include <jansson.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

using namespace llm;

namespace {

const char* const seeds[] = {
    R"({"model":"m","messages":[{"role":"user","content":"hi \"there\"\n\u00e4\ud83d\ude00"}],"stream":true,"n":2})",
    R"({"model":"m","a":[1,-2.5e+3,0],"tools":[{"function":{"name":"f","parameters":{"type":"object","properties":{}}}}]})",
    "{ \"model\" : \"m\" ,\r\n\t\"x\" : { \"y\" : [ true , false , null , [ ] , { } ] , \"z\" : 1e-7 } , "
    "\"q\" : \"\" }",
    R"({"stream_options":{"include_usage":true,"x":[[[{"a":{"b":{"c":[]}}}]]]},"options":{"num_predict":5,"stop":["a","b"]}})",
    "{\"prompt\":[[1,22,333,4444],[55555,6]],\"suffix\":\"\xc3\xa4\xe4\xbd\xa0\xf0\x9f\x98\x80\",\"echo\":"
    "false,\"k\":[\"\xe2\x82\xac\"]}",
    R"({"contents":[{"parts":[{"text":"a long text that has more than sixty-four bytes in it, so that it is read in blocks \\ \/ \b"}]}]})",
};

const std::string_view tokens[] = {
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "'",
    "\\",
    "/*",
    "*/",
    "//",
    "#",
    "\n",
    " ",
    "\t",
    "0",
    "1",
    "-",
    "+",
    ".",
    "e",
    "E5",
    "01",
    "null",
    "true",
    "false",
    "NaN",
    "nan",
    "Infinity",
    "-Infinity",
    "undefined",
    "None",
    "True",
    "\\u0000",
    "\\ud800",
    "\\u12",
    "\\x41",
    "\\'",
    "\"a\":",
    "\"model\":\"x\",",
    "{}",
    "[]",
    "\"\"",
    ",,",
    "[1/*\"*/]",
    "\xef\xbb\xbf",
    "\xff",
    "\xc3",
    "\xc3\xa4",
    "\xed\xa0\x80",
    "\xc0\x80",
    "\xf4\x90\x80\x80",
    "\xc2\xa0",
    "\xe2\x80\xa8",
    "\f",
    "\v",
    "\x7f",
    "\x1f",
    std::string_view("\0", 1),
    "0x1f",
    "1_000",
    ".5",
    "5.",
    "`",
    ";",
    "=",
    "<!--",
};

class mutator {
public:
    explicit mutator(uint32_t seed) : random_(seed) {}

    std::string next()
    {
        std::string text = seeds[below(std::size(seeds))];
        for (size_t n = 1 + below(3); n != 0; --n)
            change(text);
        return text;
    }
    size_t below(size_t bound) { return random_() % bound; }

private:
    void change(std::string& text)
    {
        const size_t at = below(text.size() + 1);
        const size_t size = 1 + below(4);
        switch (below(8)) {
        case 0:
            text.erase(at, size);
            break;
        case 1:
            if (at < text.size())
                text[at] = static_cast<char>(random_());
            break;
        case 2:
            text.insert(at, text.substr(below(text.size() + 1), 1 + below(20)));
            break;
        case 3:
            text.resize(below(8) == 0 ? at : text.size());
            break;
        default:
            text.insert(at, tokens[below(std::size(tokens))]);
            break;
        }
    }

    std::mt19937 random_;
};

enum class verdict { good, not_json, other };

verdict verdict_of(body_fault fault)
{
    switch (fault) {
    case body_fault::none:
        return verdict::good;
    case body_fault::not_an_object:
    case body_fault::syntax:
    case body_fault::not_utf8:
        return verdict::not_json;
    default:
        return verdict::other; // JSON perhaps, but refused for what it says
    }
}

// Each piece in memory of its own, so that a read beyond it is found.
body_fault fault_of(std::string_view text, size_t piece)
{
    request_facts facts;
    for (; !text.empty(); text.remove_prefix(std::min(piece, text.size()))) {
        const std::vector<char> own(text.begin(),
                                    text.begin() + static_cast<std::ptrdiff_t>(std::min(piece, text.size())));
        facts.feed({own.data(), own.size()});
    }
    return facts.finish();
}

bool jansson_takes(std::string_view text)
{
    json_t* const root = json_loadb(text.data(), text.size(), JSON_ALLOW_NUL, nullptr);
    const bool is_object = json_is_object(root);
    json_decref(root);
    return is_object;
}

} // namespace

int main(int argc, char** argv)
{
    const unsigned long bodies = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 100000;
    mutator bodies_of(argc > 2 ? static_cast<uint32_t>(std::strtoul(argv[2], nullptr, 10)) : 1);
    unsigned long good = 0;
    unsigned long bad = 0;
    for (unsigned long i = 0; i < bodies; ++i) {
        const std::string text = bodies_of.next();
        const body_fault fault = fault_of(text, SIZE_MAX);
        for (const size_t piece : {size_t{1}, 2 + bodies_of.below(40)}) {
            if (fault_of(text, piece) != fault) {
                std::fprintf(stderr, "another verdict in pieces of %zu: %s\n", piece, text.c_str());
                return 1;
            }
        }
        const verdict is = verdict_of(fault);
        good += is == verdict::good;
        bad += is == verdict::not_json;
        if (is == verdict::other || (is == verdict::good) == jansson_takes(text))
            continue;
        std::putchar(is == verdict::good ? '+' : '-');
        for (const char c : text)
            std::printf("%02x", static_cast<unsigned char>(c));
        std::putchar('\n');
    }
    std::printf("= %lu %lu\n", good, bad);
    return 0;
}
