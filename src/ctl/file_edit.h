// Changes a file so that nobody ever reads half of it, and nobody's change is lost.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>

namespace llm::ctl {

// Who a file that is made belongs to.
struct new_file {
    bool make = false;               // else a file that is not there is an error
    std::optional<gid_t> group = {}; // of the file and of folders that are made; none: the caller's
};

struct edit_error {
    int code = 0;     // an exit code, see exit_code.h
    std::string text; // empty: the change has told it
};

// Given the text, it makes the new one of it. Returns false to leave the file as it is, with `code` as the
// exit code. It may be called more than once, if others change the file meanwhile.
using text_change = std::function<bool(std::string& text, bool is_new, int& code)>;

// The file is replaced by a new one, in one step, with its owner, group, mode and extended attributes; of a
// symbolic link the file that it leads to. Programs that do the same at once wait for each other: the folder
// is locked. A change by others is seen, and then the change begins anew.
std::optional<edit_error> edit_file(const std::string& path, const new_file& make, const text_change& change);

// The whole text of a regular file, for programs that only look. Error as above.
std::optional<edit_error> read_whole(const std::string& path, std::string& text);

// The group of nginx's workers: of the `user` directive in this value ("www-data" or "www-data group"), if it
// exists.
std::optional<gid_t> group_of_user(const std::string& user, const std::string& group);

} // namespace llm::ctl
