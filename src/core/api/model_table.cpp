#include "model_table.h"

#include "core/base/hash.h"

#include <algorithm>
#include <bit>

namespace llm {

namespace {

// At most half of the places are taken, so that a search ends soon.
size_t places_for(size_t rows)
{
    return std::bit_ceil(rows * 2 + 1);
}

} // namespace

usage_weights model_row::weights(const usage_weights& other) const
{
    return {prompt != not_given ? prompt : other.prompt, cached != not_given ? cached : other.cached,
            completion != not_given ? completion : other.completion};
}

std::string_view short_model_name(std::string_view model)
{
    constexpr std::string_view collection = "models/";
    return model.starts_with(collection) ? model.substr(collection.size()) : model;
}

size_t model_table::index_size(size_t rows)
{
    return places_for(rows) + rows;
}

void model_table::build(std::span<const model_row> rows, std::span<uint32_t> index)
{
    rows_ = rows;
    exact_ = index.first(places_for(rows.size()));
    std::fill(exact_.begin(), exact_.end(), 0);
    const std::span<uint32_t> room = index.subspan(exact_.size());
    size_t n_prefixes = 0;
    for (uint32_t i = 0; i < rows.size(); ++i) {
        if (rows[i].is_prefix) {
            room[n_prefixes++] = i;
            continue;
        }
        uint64_t at = name_hash(rows[i].name);
        while (exact_[at & (exact_.size() - 1)] != 0) {
            ++at;
        }
        exact_[at & (exact_.size() - 1)] = i + 1;
    }
    prefixes_ = room.first(n_prefixes);
}

const model_row* model_table::find(std::string_view model) const
{
    size_t end = rows_.size(); // a pattern holds only if it stands before the row of this name
    for (uint64_t at = name_hash(model);; ++at) {
        const uint32_t place = exact_[at & (exact_.size() - 1)];
        if (place == 0) {
            break;
        }
        if (rows_[place - 1].name == model) {
            end = std::min<size_t>(end, place - 1);
        }
    }
    for (const uint32_t i : prefixes_) {
        if (i > end) {
            break;
        }
        if (model.starts_with(rows_[i].name)) {
            return &rows_[i];
        }
    }
    return end != rows_.size() ? &rows_[end] : nullptr;
}

const model_row* model_table::find_any() const
{
    const auto any =
        std::find_if(rows_.begin(), rows_.end(), [](const model_row& row) { return row.fits_all(); });
    return any != rows_.end() ? &*any : nullptr;
}

const model_row* row_that_hides(std::span<const model_row> before, const model_row& row)
{
    const auto hides = [&row](const model_row& other) {
        return other.is_prefix ? row.name.starts_with(other.name) : !row.is_prefix && other.name == row.name;
    };
    const auto found = std::find_if(before.begin(), before.end(), hides);
    return found != before.end() ? &*found : nullptr;
}

} // namespace llm
