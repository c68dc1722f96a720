#include "subject_names.h"

#include "core/base/address.h"
#include "core/base/chars.h"
#include "core/base/utf8.h"

#include <algorithm>

namespace llm {

std::string_view address_name(std::span<const uint8_t> address)
{
    address = unmapped(address);
    size_t size = std::min<size_t>(address.size(), address.size() == 16 ? 8 : max_name);
    return {reinterpret_cast<const char*>(address.data()), size};
}

std::string_view model_name(const subject_table& subjects, std::string_view model, char (&longer)[max_name])
{
    if (model.size() <= max_name) {
        return model;
    }
    size_t size = utf8_cut(model, max_name - 17).copy(longer, max_name - 17);
    longer[size++] = '~';
    uint64_t hash = subjects.keyed_hash(model);
    for (int shift = 60; shift >= 0; shift -= 4) {
        longer[size++] = hex_digits[hash >> shift & 15];
    }
    return {longer, size};
}

} // namespace llm
