// What limits and those that they are for are called in directives and in logs.
#pragma once

#include "core/shared/admission.h"

#include <string_view>

namespace llm {

struct scope_name {
    std::string_view name;
    subject_kind scope;
};

inline constexpr scope_name scope_names[] = {
    {"key", subject_kind::key},         {"user", subject_kind::user}, {"model", subject_kind::model},
    {"address", subject_kind::address}, {"zone", subject_kind::zone},
};

struct limit_name {
    std::string_view name;
    limit_kind kind;
};

inline constexpr limit_name limit_names[] = {
    {"requests", limit_kind::requests},       {"tokens", limit_kind::tokens},
    {"concurrency", limit_kind::concurrency}, {"quota", limit_kind::quota},
    {"failures", limit_kind::failures},
};

} // namespace llm
