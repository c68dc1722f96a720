// The model that a request's query names.
#pragma once

#include <cstddef>
#include <string_view>

namespace llm {

struct query_model {
    std::string_view name = {}; // in the room; without data: none is named
    bool unclear = false;       // servers may read another one, or none
    // Where it is in the query, encoded.
    size_t begin = 0;
    size_t end = 0;
};

// Reads "model", and Azure's "deployment", of a query without its question mark. Names and values are
// decoded: %XX and "+". A name that does not fit the room is unclear.
query_model model_in_query(std::string_view query, char* room, size_t room_size);

} // namespace llm
