// The scanner must tell the same of a text in one piece as of the same text in any pieces.
#include "core/json/json_scan.h"

#include "pieces.h"

#include <cstdlib>
#include <string>

namespace {

using namespace llm;

constexpr auto paths = json_paths<11>({{
    {""},
    {"a", 0, json_text::bounded, true},
    {"b", 0, json_text::pieces},
    {"c", 0},
    {json_elements, 1, json_text::bounded},
    {"a", 2, json_text::bounded},
    {"b", 2},
    {json_elements, 3, json_text::pieces},
    {"a", 7, json_text::bounded},
    {json_elements, 8},
    {"c", 9, json_text::pieces},
}});

void take(void* owner, const json_event& e)
{
    std::string& log = *static_cast<std::string*>(owner);
    for (const uint64_t n :
         {uint64_t{e.path}, uint64_t(e.is), uint64_t(e.type), uint64_t{e.truncated}, uint64_t{e.folded},
          uint64_t{e.index}, e.index == 0 ? 0 : e.comma, e.key_begin, e.value_begin, e.value_end})
        log += std::to_string(n) + ' ';
    log.append(e.text).append("\n");
}

std::string told(std::string_view text, uint32_t seed)
{
    std::string log;
    json_scanner scanner;
    scanner.start();
    in_pieces(text, seed, [&](std::string_view piece) {
        const size_t taken = scanner.feed(piece, paths.data(), {take, &log});
        if (taken > piece.size() || (taken < piece.size() && scanner.state() == json_scanner::status::more))
            abort();
    });
    const json_scanner::status state = scanner.finish(paths.data(), {take, &log});
    if ((state == json_scanner::status::failed) != (scanner.error() != json_error::none))
        abort();
    // After the top-level value, each piece is looked at for what follows.
    return log + std::to_string(int(state))
           + (state == json_scanner::status::complete ? "" : std::to_string(scanner.offset()));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const std::string whole = told(text, whole_piece);
    if (told(text, byte_pieces) != whole || told(text, piece_seed(text)) != whole)
        abort();
    return 0;
}
