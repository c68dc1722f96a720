// The table of models: what a client calls a model, what its upstream calls it, and what its tokens cost.
// Rows are looked at in the order in which they were added: the first that fits holds.
#pragma once

#include "core/limit/limits.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace llm {

struct model_row {
    static constexpr size_t max_name = 128; // less than what is kept of a name anywhere
    static constexpr uint32_t not_given = UINT32_MAX;

    std::string_view name;         // without its star
    bool is_prefix = false;        // it has one: any name fits that begins so
    std::string_view as;           // what the upstream calls it; empty: as the client does
    std::string_view as_json = {}; // the same as a JSON string
    // In thousandths, as usage_weights has them, or not_given.
    uint32_t prompt = not_given;
    uint32_t cached = not_given;
    uint32_t completion = not_given;
    uint32_t max_tokens = 0; // the most that it generates for one choice; 0: not known

    bool fits(std::string_view model) const { return is_prefix ? model.starts_with(name) : model == name; }
    bool fits_all() const { return is_prefix && name.empty(); }
    // The row's weights, and what it does not give as it is in `other`.
    usage_weights weights(const usage_weights& other) const;
};

// What stands before the name of a tuned model, and belongs to it.
inline constexpr std::string_view tuned_models = "tunedModels/";
// A name without "models/", which is Gemini's long form of it.
std::string_view short_model_name(std::string_view model);

// Finds rows. Owns nothing.
class model_table {
public:
    // Words that the index of so many rows takes.
    static size_t index_size(size_t rows);
    // The rows and the memory have to live as long as this. To be called once, when all rows are there.
    void build(std::span<const model_row> rows, std::span<uint32_t> index);

    // The first row that fits, or nullptr.
    const model_row* find(std::string_view model) const;
    // The row that every name fits, or nullptr.
    const model_row* find_any() const;
    std::span<const model_row> rows() const { return rows_; }
    // Whether it matters which model a request names: not where all pass as they are.
    bool tells_apart() const { return rows_.size() > 1 || !rows_[0].fits_all() || !rows_[0].as.empty(); }

private:
    std::span<const model_row> rows_;
    std::span<uint32_t> exact_;    // by hash: a row's number + 1, or 0; a power of two
    std::span<uint32_t> prefixes_; // numbers of rows, in their order
};

// The row that has all of what `row` fits, so that this one would never hold; or nullptr. `before` are the
// rows that come before it.
const model_row* row_that_hides(std::span<const model_row> before, const model_row& row);

} // namespace llm
