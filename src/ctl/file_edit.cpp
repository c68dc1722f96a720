#include "file_edit.h"

#include "exit_code.h"

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <grp.h>
#include <openssl/crypto.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <vector>

namespace llm::ctl {

namespace {

constexpr off_t most_bytes = off_t{1} << 30;

struct descriptor {
    explicit descriptor(int fd = -1) : fd(fd) {}
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    ~descriptor()
    {
        if (fd >= 0) {
            close(fd);
        }
    }
    int fd;
};

// A signal that would end the program waits until a file is in its place or gone.
class signals_held {
public:
    signals_held()
    {
        sigset_t held;
        sigemptyset(&held);
        for (const int each : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
            sigaddset(&held, each);
        }
        sigprocmask(SIG_BLOCK, &held, &before_);
    }
    ~signals_held() { sigprocmask(SIG_SETMASK, &before_, nullptr); }

private:
    sigset_t before_;
};

// A text that may have keys in it.
struct wiped_text {
    ~wiped_text() { OPENSSL_cleanse(text.data(), text.size()); }
    std::string text;
};

edit_error failed(const std::string& what, int code)
{
    return {exit_failed, what + ": " + strerror(code)};
}

bool is_same(const struct stat& a, const struct stat& b)
{
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size
           && a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec
           && a.st_ctim.tv_sec == b.st_ctim.tv_sec && a.st_ctim.tv_nsec == b.st_ctim.tv_nsec;
}

bool write_all(int fd, std::string_view text)
{
    while (!text.empty()) {
        const ssize_t n = write(fd, text.data(), text.size());
        if (n < 0 && errno != EINTR) {
            return false;
        }
        text.remove_prefix(n > 0 ? static_cast<size_t>(n) : 0);
    }
    return true;
}

// Access lists, labels and the like, as far as the system lets us.
void copy_attributes(int from, int to)
{
    std::vector<char> names(4096), value(4096);
    const ssize_t size = flistxattr(from, names.data(), names.size());
    for (ssize_t at = 0; at < size;) {
        const char* name = names.data() + at;
        const ssize_t length = fgetxattr(from, name, value.data(), value.size());
        if (length >= 0) {
            (void)fsetxattr(to, name, value.data(), static_cast<size_t>(length), 0);
        }
        at += static_cast<ssize_t>(strlen(name)) + 1;
    }
}

// One change of one file, its folder being locked.
class file_change {
public:
    file_change(int folder, std::string folder_path, std::string name, const new_file& make)
        : folder_(folder), path_(folder_path.empty() ? name : folder_path + "/" + name),
          name_(std::move(name)), temporary_("." + name_ + ".llmctl"), make_(make)
    {
    }

    // Nothing and `again` if others have changed the file meanwhile.
    std::optional<edit_error> run(const text_change& change, bool& again)
    {
        again = false;
        const descriptor old(
            openat(folder_, name_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
        wiped_text whole, unchanged;
        std::string& text = whole.text;
        if (old.fd < 0 && (errno != ENOENT || !make_.make)) {
            return failed(path_ + ": cannot open", errno);
        }
        const bool is_new = old.fd < 0;
        struct stat before {};
        if (!is_new) {
            if (auto error = read(old.fd, before, text)) {
                return error;
            }
        }
        unchanged.text = text;
        int code = exit_well;
        if (!change(text, is_new, code)) {
            return edit_error{code, ""};
        }
        if (!is_new && text == unchanged.text) {
            return std::nullopt;
        }
        const signals_held held;
        // One that was killed may have left it; no other is here while the folder is locked.
        unlinkat(folder_, temporary_.c_str(), 0);
        auto error = write_new(text, old.fd, before, is_new);
        if (!error) {
            struct stat now {};
            const bool is_there = fstatat(folder_, name_.c_str(), &now, AT_SYMLINK_NOFOLLOW) == 0;
            if (is_there == is_new || (is_there && !is_same(before, now))) {
                again = true;
            } else if (renameat(folder_, temporary_.c_str(), folder_, name_.c_str()) != 0) {
                error = failed(path_ + ": cannot be replaced", errno);
            } else {
                fsync(folder_);
                return std::nullopt;
            }
        }
        unlinkat(folder_, temporary_.c_str(), 0);
        return error;
    }

    std::optional<edit_error> read(int fd, struct stat& info, std::string& text)
    {
        if (fstat(fd, &info) != 0) {
            return failed(path_ + ": cannot stat", errno);
        }
        if (!S_ISREG(info.st_mode)) {
            return edit_error{exit_failed, path_ + ": not a regular file"};
        }
        if (info.st_size > most_bytes) {
            return edit_error{exit_failed, path_ + ": larger than 1 GiB"};
        }
        text.resize(static_cast<size_t>(info.st_size));
        size_t size = 0;
        while (size < text.size()) {
            const ssize_t n = ::read(fd, text.data() + size, text.size() - size);
            if (n < 0 && errno != EINTR) {
                return failed(path_ + ": cannot read", errno);
            }
            if (n == 0) {
                break;
            }
            size += n > 0 ? static_cast<size_t>(n) : 0;
        }
        text.resize(size);
        return std::nullopt;
    }

private:
    std::optional<edit_error> write_new(std::string_view text, int old, const struct stat& before,
                                        bool is_new)
    {
        const descriptor file(
            openat(folder_, temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (file.fd < 0) {
            return failed(path_ + ": cannot make a new file beside it", errno);
        }
        if (!write_all(file.fd, text)) {
            return failed(path_ + ": cannot write the new file", errno);
        }
        if (is_new) {
            if (make_.group && fchown(file.fd, static_cast<uid_t>(-1), *make_.group) != 0) {
                return failed(path_ + ": cannot give it to the group of nginx's workers", errno);
            }
            if (fchmod(file.fd, 0640) != 0) {
                return failed(path_ + ": cannot set its mode", errno);
            }
        } else {
            struct stat made {};
            if (fstat(file.fd, &made) != 0
                || ((made.st_uid != before.st_uid || made.st_gid != before.st_gid)
                    && fchown(file.fd, before.st_uid, before.st_gid) != 0)) {
                return failed(path_ + ": cannot keep its owner and group", errno);
            }
            copy_attributes(old, file.fd);
            if (fchmod(file.fd, before.st_mode & 07777) != 0) {
                return failed(path_ + ": cannot keep its mode", errno);
            }
        }
        return fsync(file.fd) == 0 ? std::nullopt
                                   : std::optional(failed(path_ + ": cannot write the new file", errno));
    }

    int folder_;
    std::string path_, name_, temporary_;
    const new_file& make_;
};

// The file that `path` leads to, by all links; a file that is not there may be meant. False with errno set.
bool real_path(const std::string& path, bool make, std::string& folder, std::string& name)
{
    char found[PATH_MAX];
    if (realpath(path.c_str(), found)) {
        const std::string_view whole = found;
        folder = whole.substr(0, std::max<size_t>(whole.rfind('/'), 1));
        name = whole.substr(whole.rfind('/') + 1);
        return true;
    }
    struct stat info;
    // A link to nothing is not made to something.
    if (errno != ENOENT || !make || lstat(path.c_str(), &info) == 0) {
        return false;
    }
    const size_t slash = path.rfind('/');
    const std::string parent = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    name = slash == std::string::npos ? path : path.substr(slash + 1);
    if (name.empty() || !realpath(parent.c_str(), found)) {
        errno = ENOENT;
        return false;
    }
    folder = found;
    return true;
}

// Makes the folders above `path` that are not there.
std::optional<edit_error> make_folders(const std::string& path, std::optional<gid_t> group)
{
    for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
        const std::string folder = path.substr(0, slash);
        // Those who may not enter do not see which keys there are; nginx's workers have to.
        if (mkdir(folder.c_str(), group ? 0750 : 0755) == 0) {
            if (group && chown(folder.c_str(), static_cast<uid_t>(-1), *group) != 0) {
                return failed(folder + ": cannot give it to the group of nginx's workers", errno);
            }
            if (chmod(folder.c_str(), group ? 0750 : 0755) != 0) {
                return failed(folder + ": cannot set its mode", errno);
            }
        } else if (errno != EEXIST) {
            return failed(folder + ": cannot be made", errno);
        }
    }
    return std::nullopt;
}

constexpr int lock_tries = 3000; // of 10 ms each

std::optional<edit_error> lock(int folder, const std::string& path)
{
    for (int i = 0; flock(folder, LOCK_EX | LOCK_NB) != 0; i++) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return failed(path + ": cannot lock its folder", errno);
        }
        if (i == lock_tries) {
            return edit_error{exit_failed, path + ": another program has locked its folder for 30 seconds"};
        }
        const timespec pause{0, 10000000};
        nanosleep(&pause, nullptr);
    }
    return std::nullopt;
}

} // namespace

std::optional<edit_error> edit_file(const std::string& path, const new_file& make, const text_change& change)
{
    if (make.make) {
        if (auto error = make_folders(path, make.group)) {
            return error;
        }
    }
    std::string folder, name;
    if (!real_path(path, make.make, folder, name)) {
        return failed(path + ": cannot open", errno);
    }
    const descriptor locked(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (locked.fd < 0) {
        return failed(folder + ": cannot open", errno);
    }
    if (auto error = lock(locked.fd, path)) {
        return error;
    }
    for (int i = 0; i < 10; i++) {
        bool again = false;
        auto error = file_change(locked.fd, folder, name, make).run(change, again);
        if (error || !again) {
            return error;
        }
    }
    return edit_error{exit_failed, path + ": others change it all the time"};
}

std::optional<edit_error> read_whole(const std::string& path, std::string& text)
{
    const descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (file.fd < 0) {
        return failed(path + ": cannot open", errno);
    }
    struct stat info {};
    const new_file none;
    return file_change(-1, "", path, none).read(file.fd, info, text);
}

std::optional<gid_t> group_of_user(const std::string& user, const std::string& group)
{
    if (!group.empty()) {
        const struct group* found = getgrnam(group.c_str());
        return found ? std::optional(found->gr_gid) : std::nullopt;
    }
    const struct passwd* found = getpwnam(user.c_str());
    return found ? std::optional(found->pw_gid) : std::nullopt;
}

} // namespace llm::ctl
