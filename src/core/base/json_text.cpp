#include "json_text.h"

#include "chars.h"
#include "utf8.h"

namespace llm {

size_t write_json_text(std::string_view text, char* out)
{
    char* p = out;
    for (size_t i = 0; i < text.size();) {
        char c = text[i];
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
        } else if (is_control(c)) {
            p += std::string_view("\\u00").copy(p, 4);
            p = put_hex(p, static_cast<uint8_t>(c));
        } else {
            *p++ = c;
        }
        i++;
    }
    return static_cast<size_t>(p - out);
}

} // namespace llm
