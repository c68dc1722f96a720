#include "key_loader.h"

#include "core/shared/key_records.h"
#include "keys/key_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace llm {

namespace {

constexpr size_t pipe_bytes = 64 * 1024;
// From here on a file takes long enough to be in the way of workers.
constexpr off_t large_file = 4 << 20;
constexpr int nice_for_large = 5;

// An event as it passes the pipe, with its text behind it.
struct frame {
    loader_event event;
    uint32_t text_size;
};

// --- in the child

class event_writer {
public:
    explicit event_writer(int fd) : fd_(fd) {}

    void put(const loader_event& event, std::string_view text = {})
    {
        const frame head{event, static_cast<uint32_t>(text.size())};
        buffer_.append(reinterpret_cast<const char*>(&head), sizeof head);
        buffer_.append(text);
        if (buffer_.size() >= pipe_bytes / 2) {
            flush();
        }
    }

    void flush()
    {
        for (size_t sent = 0; sent < buffer_.size();) {
            const ssize_t n = write(fd_, buffer_.data() + sent, buffer_.size() - sent);
            if (n < 0 && errno != EINTR) {
                _exit(1); // the keeper is gone
            }
            sent += n > 0 ? static_cast<size_t>(n) : 0;
        }
        buffer_.clear();
    }

private:
    int fd_;
    std::string buffer_;
};

const char* path_of(const key_source& source)
{
    return reinterpret_cast<const char*>(source.path.data);
}

file_error with_advice(file_error error, const key_source& source)
{
    if (error.line == 0 && access(path_of(source), R_OK) != 0 && errno == EACCES) {
        error.text += ": the workers' user cannot read it: give it the mode 640 and a group of that user, or "
                      "reload nginx after each change";
    }
    return error;
}

void put_fault(event_writer& out, uint32_t source, const file_error& error)
{
    out.put({.what = loader_event::kind::fault, .source = source, .line = error.line, .column = error.column},
            std::string_view(error.text).substr(0, file_fault::max_text));
}

// The files as they are to be in force. False if none of those that were read is good.
bool read_files(zone_conf& zone, const std::vector<bool>& reads, std::vector<key_file>& files,
                std::vector<bool>& fresh, event_writer& out)
{
    const auto sources = sources_of(zone);
    bool any = false;
    for (uint32_t i = 0; i < sources.size(); i++) {
        const key_table::file_info& in_force = *zone.state->keys()->file(sources[i]->id);
        if (reads[i]) {
            auto error = load_key_file(path_of(*sources[i]), files[i]);
            if (!error) {
                error = finish_keys(files[i], sources[i]->by_name);
            }
            if (!error) {
                for (const file_error& warning : warnings_of(files[i])) {
                    out.put({.what = loader_event::kind::warning,
                             .source = i,
                             .line = warning.line,
                             .column = warning.column},
                            warning.text);
                }
                fresh[i] = any = true;
                continue;
            }
            put_fault(out, i, with_advice(*error, *sources[i]));
        }
        files[i] = records_of(in_force);
    }
    return any;
}

void load(zone_conf& zone, const std::vector<bool>& reads, event_writer& out)
{
    std::vector<key_file> files(reads.size());
    std::vector<bool> fresh(reads.size());
    if (!read_files(zone, reads, files, fresh, out)) {
        out.put({.what = loader_event::kind::done});
        return;
    }
    std::vector<const key_file*> pointers;
    for (const key_file& file : files) {
        pointers.push_back(&file);
    }
    size_t subjects = 0;
    if (const auto lack = lack_of_room(zone, pointers, subjects)) {
        for (uint32_t i = 0; i < fresh.size(); i++) {
            if (fresh[i]) {
                put_fault(out, i, {0, 0, *lack});
            }
        }
        out.put({.what = loader_event::kind::done});
        return;
    }
    key_table* table = key_table::write(zone.state->next_key_area(), pointers);
    files.clear();
    out.put(
        {.what = loader_event::kind::staged, .table = table, .changes = compare(zone.state->keys(), *table)});
    out.flush();
    const size_t needed = plan_followups(*zone.state, *table, subjects, [&](const key_followup& step) {
        loader_event event{.what = loader_event::kind::followup, .followup = step};
        event.followup.name = {};
        out.put(event, step.name);
    });
    out.put({.what = loader_event::kind::done, .needed = needed});
}

// Connections and sockets are the keeper's: they must close when it closes them.
void close_all_but(int keep)
{
    if (keep > 3) {
        close_range(3, static_cast<unsigned>(keep) - 1, 0);
    }
    close_range(static_cast<unsigned>(keep) + 1, ~0u, 0);
}

void be_quiet_in_front(zone_conf& zone, const std::vector<bool>& reads)
{
    const auto sources = sources_of(zone);
    off_t size = 0;
    for (size_t i = 0; i < sources.size(); i++) {
        ngx_file_info_t info;
        size += reads[i] && ngx_file_info(sources[i]->path.data, &info) == 0 ? info.st_size : 0;
    }
    if (size >= large_file) {
        setpriority(PRIO_PROCESS, 0, nice_for_large);
    }
}

[[noreturn]] void be_child(int out, pid_t parent, zone_conf& zone, const std::vector<bool>& reads)
{
    // nginx's handlers write to its log.
    for (const int signal_number : {SIGTERM, SIGQUIT, SIGINT, SIGCHLD}) {
        signal(signal_number, SIG_DFL);
    }
    for (const int signal_number : {SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM, SIGIO}) {
        signal(signal_number, SIG_IGN);
    }
    // Whoever has the ticket next must find nobody who still writes.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != parent) {
        _exit(1);
    }
    close_all_but(out);
    be_quiet_in_front(zone, reads);
    event_writer writer(out);
    load(zone, reads, writer);
    writer.flush();
    _exit(0);
}

} // namespace

// --- in the keeper

bool key_loader::start(zone_conf& zone, const std::vector<bool>& reads)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return false;
    }
    const pid_t self = getpid();
    child_ = fork();
    if (child_ == 0) {
        be_child(ends[1], self, zone, reads);
    }
    const int why = errno;
    close(ends[1]);
    if (child_ < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
        close(ends[0]);
        errno = why;
        return false;
    }
    from_child_ = ends[0];
    buffer_.clear();
    taken_ = 0;
    at_end_ = false;
    return true;
}

// False if there is nothing to read now.
bool key_loader::read_some()
{
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(taken_));
    taken_ = 0;
    const size_t had = buffer_.size();
    buffer_.resize(had + pipe_bytes);
    ssize_t n = 0;
    do {
        n = read(from_child_, buffer_.data() + had, pipe_bytes);
    } while (n < 0 && errno == EINTR);
    buffer_.resize(had + (n > 0 ? static_cast<size_t>(n) : 0));
    at_end_ = n == 0 || (n < 0 && errno != EAGAIN);
    return n > 0;
}

// Takes an event that has come whole; its text is good until more is read.
bool key_loader::next(loader_event& event)
{
    frame head;
    if (buffer_.size() - taken_ < sizeof head) {
        return false;
    }
    memcpy(static_cast<void*>(&head), buffer_.data() + taken_, sizeof head);
    if (buffer_.size() - taken_ < sizeof head + head.text_size) {
        return false;
    }
    event = head.event;
    event.text = {buffer_.data() + taken_ + sizeof head, head.text_size};
    event.followup.name = event.text;
    taken_ += sizeof head + head.text_size;
    return true;
}

key_loader::state key_loader::poll(const std::function<void(const loader_event&)>& tell,
                                   const std::function<bool()>& go_on)
{
    loader_event event{};
    while (go_on()) {
        if (next(event)) {
            tell(event);
        } else if (!read_some()) {
            if (!at_end_) {
                return state::waits;
            }
            stop();
            return state::ended;
        }
    }
    return state::has_more;
}

void key_loader::stop()
{
    if (child_ > 0) {
        // With `master_process off` nginx's handler may have been faster: then the pid may be another's.
        if (!at_end_ && waitpid(child_, nullptr, WNOHANG) == 0) {
            kill(child_, SIGKILL);
        }
        while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
        }
    }
    if (from_child_ >= 0) {
        close(from_child_);
    }
    child_ = -1;
    from_child_ = -1;
}

} // namespace llm
