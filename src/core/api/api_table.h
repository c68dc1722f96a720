// The table of APIs.
#pragma once

#include "api.h"

#include <cstddef>
#include <span>
#include <string_view>

namespace llm {

// The headers that tell what a limit leaves.
struct limit_header_names {
    struct group {
        std::string_view limit;
        std::string_view remaining;
        std::string_view reset;
    };
    group requests;
    group tokens;
    bool reset_is_time; // else a duration
};

struct error_text;

// What differs between APIs beside their wire formats.
struct api_row {
    // By which llm_errors asks for its errors. APIs of one name are told apart by the path.
    std::string_view name;
    // Whether the path, without a query and in small letters, is this API's. nullptr: what is no other's.
    bool (*owns)(std::string_view path);
    // What a path of this API says.
    api_call (*read_path)(std::string_view path);
    const limit_header_names& limit_headers;
    bool has_request_id; // in the body of an error, and in the header `request-id`
    // Writes the body of an error without a line end, and returns its end; and what ends a stream of events.
    char* (*put_error)(char* out, const error_text& error);
    char* (*put_error_event)(char* out, const error_text& error);
    // The names, which are their types as well, of events of its streams that bring some of the text and say
    // nothing else but usage and errors.
    std::span<const std::string_view> deltas = {};
};

// The `deltas` of all rows.
std::span<const std::string_view> all_deltas();

// A row for each api, in the order of the enum.
std::span<const api_row> api_rows();
inline const api_row& row_of(api which)
{
    return api_rows()[static_cast<size_t>(which)];
}

} // namespace llm
