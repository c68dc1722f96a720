// What llmctl ends with.
#pragma once

namespace llm::ctl {

inline constexpr int exit_well = 0;
// The key file is wrong, or what was asked for: no such key, a name that is taken, a value that means
// nothing.
inline constexpr int exit_wrong = 1;
// Wrong use of llmctl, or a failure of the system: a file that cannot be read or written, an nginx that does
// not answer.
inline constexpr int exit_failed = 2;

} // namespace llm::ctl
