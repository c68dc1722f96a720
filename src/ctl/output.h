// What llmctl says, to people or, with --json, to programs.
#pragma once

#include "display_text.h"

#include <string>
#include <string_view>

namespace llm::ctl {

// Answers go to stdout, errors and remarks to stderr.
class output {
public:
    explicit output(bool json) : json_(json) {}

    // Whether an answer is to be JSON.
    bool json() const { return json_; }

    // Kept until the command has ended, or flush().
    void put(std::string_view text) { text_ += text; }
    void line(std::string_view text);
    // False if stdout took not all of it.
    bool flush();

    // An error, as {"error":{"message":...}} with --json. What is not printable in the message is made
    // harmless. They return the exit code for it.
    int wrong(std::string_view message); // exit_wrong
    int fail(std::string_view message);  // exit_failed
    // The same for a failure of the system, with errno's text.
    int fail_system(std::string_view what, int code);

    // What a person may do next: on stderr, and nothing with --json.
    void hint(std::string_view message);
    // Something that a person should know though all is well. With --json {"warning":{"message":...}} on
    // stderr.
    void warn(std::string_view message);

private:
    void say(const char* kind, std::string_view message);

    bool json_;
    std::string text_;
};

} // namespace llm::ctl
