// Work of the master's on what is not to be trusted by root, such as a directory of the worker's user: in a
// child that has no more rights than a worker.
#pragma once

#include <cstdint>
#include <sys/types.h>

namespace llm {

// Whom a process of root's becomes. One that is not root's stays who it is, as nginx's workers do.
struct child_user {
    uid_t user;
    gid_t group;
    const char* name; // its further groups are those of this user
};

enum class child_end : uint8_t {
    done,
    failed,     // the work has said so
    no_rights,  // it did not come to work: its rights could not be given up
    died,       // of a signal, or by exit()
    too_long,   // it was killed
    no_process, // there was none: errno says why
};

struct child_result {
    child_end is;
    pid_t pid; // it is gone; a lock that it may have held is for the caller to free
};

// Runs `work(data)` in a child and waits for it, `limit_ms` at most. The child ends with the return of
// `work`, and nothing that this process has registered for its own end is run. Signals do not end it, but
// SIGKILL. For processes with one thread. SIGCHLD is held back meanwhile, so that nginx's handler does not
// take the child for one of its own.
child_result run_unprivileged(const child_user& as, uint64_t limit_ms, bool (*work)(void*), void* data);

} // namespace llm
