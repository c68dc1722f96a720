#include "json_check.h"

#include "field_check.h"

namespace llm {

std::optional<file_error> check_json(std::string_view text)
{
    json_error_t why;
    const json_ptr value(
        json_loadb(text.data(), text.size(), JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why));
    if (value) {
        return std::nullopt;
    }
    // jansson's own text may show what stands there, which may be a key.
    const bool is_twice = json_error_code(&why) == json_error_duplicate_key;
    return file_error{static_cast<uint32_t>(why.line), static_cast<uint32_t>(why.column),
                      is_twice ? "a name is given twice in an object" : "this is no JSON"};
}

} // namespace llm
