// The pages for browsers, as the build makes them out of page/ (page/embed.cmake).
#pragma once

#include <string_view>

namespace llm {

struct page_document {
    std::string_view text;   // one document, with its styles and its script in it
    std::string_view policy; // the value of its Content-Security-Policy
};

extern const page_document status_page;
extern const page_document usage_page;

} // namespace llm
