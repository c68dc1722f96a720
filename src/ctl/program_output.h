// Runs another program, without a shell.
#pragma once

#include <string>
#include <vector>

namespace llm::ctl {

struct program_result {
    int status = -1; // what it ended with; -1 if it could not be run or was killed
    std::string out; // its stdout and stderr, at most 64 MiB of each
    std::string err;
};

// `words` begins with the path of the program. Its stdin is empty. Waits for its end.
program_result run_program(const std::vector<std::string>& words);

// Where the program is: in $PATH, else in `more` (folders with colons between). Empty if it is nowhere.
std::string find_program(const std::string& name, const std::string& more);

} // namespace llm::ctl
