#include "json_text.h"

#include "utf8.h"

namespace llm {

size_t write_json_text(std::string_view text, char* out)
{
    static constexpr char hex[] = "0123456789abcdef";
    char* p = out;
    for (size_t i = 0; i < text.size();) {
        char c = text[i];
        auto byte = static_cast<uint8_t>(c);
        size_t length = utf8_length(text.substr(i));
        if (length != 1) {
            const std::string_view whole = length ? text.substr(i, length) : std::string_view("?");
            p += whole.copy(p, whole.size());
            i += length ? length : 1;
            continue;
        }
        if (c == '"' || c == '\\') {
            *p++ = '\\';
            *p++ = c;
        } else if (byte < 0x20 || byte == 0x7f) {
            p += std::string_view("\\u00").copy(p, 4);
            *p++ = hex[byte >> 4];
            *p++ = hex[byte & 15];
        } else {
            *p++ = c;
        }
        i++;
    }
    return static_cast<size_t>(p - out);
}

} // namespace llm
