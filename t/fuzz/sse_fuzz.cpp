// The reader must find the same events in any pieces, and the same as a plain reading of the format's rules.
#include "core/json/sse.h"

#include "pieces.h"

#include <cstdlib>
#include <string>

namespace {

using namespace llm;

std::string found(std::string_view text, uint32_t seed)
{
    std::string log;
    sse_reader reader;
    const auto on = [&](const sse_item& item) {
        if (item.is == sse_item::what::data) {
            if (item.bytes.empty())
                abort();
            log.append(item.bytes);
        } else if (item.is == sse_item::what::error) {
            log += "<error>";
        } else if (item.is == sse_item::what::end) {
            log.append("<end ").append(reader.event()).append(">");
        }
        return item.is != sse_item::what::none;
    };
    in_pieces(text, seed, [&](std::string_view piece) {
        while (on(reader.next(piece)))
            ;
        if (!piece.empty())
            abort();
    });
    if (reader.offset() != text.size())
        abort();
    while (on(reader.finish()))
        ;
    return log;
}

std::string expected(std::string_view text)
{
    std::string log;
    std::string event;
    bool has_data = false;
    const auto end = [&] {
        if (has_data)
            log.append("<end ").append(event.size() > sse_reader::max_event ? "" : event).append(">");
        has_data = false;
        event.clear();
    };
    if (text.starts_with("\xef\xbb\xbf"))
        text.remove_prefix(3);
    while (!text.empty()) {
        const size_t size = text.find_first_of("\r\n");
        const bool whole = size != std::string_view::npos;
        const std::string_view line = text.substr(0, size);
        text.remove_prefix(whole ? size + (text.substr(size).starts_with("\r\n") ? 2 : 1) : line.size());
        if (line.empty()) {
            end();
            continue;
        }
        const size_t colon = line.find(':');
        const std::string_view name = line.substr(0, colon);
        std::string_view value = colon == std::string_view::npos ? "" : line.substr(colon + 1);
        if (value.starts_with(' '))
            value.remove_prefix(1);
        if (name == "data") {
            if (has_data)
                log += '\n';
            has_data = true;
            log.append(value);
        } else if (name == "event") {
            event = value;
        } else if (name == "error") {
            log += "<error>";
        }
    }
    end();
    return log;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const std::string whole = expected(text);
    if (found(text, whole_piece) != whole || found(text, byte_pieces) != whole
        || found(text, piece_seed(text)) != whole)
        abort();
    return 0;
}
