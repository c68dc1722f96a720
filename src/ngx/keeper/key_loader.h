// Reads the key files of a zone and writes the next key table, in a child of the keeper: with a million keys
// that takes seconds and hundreds of megabytes. The child takes no lock, so that nobody waits for it if it is
// killed; what needs the lock it tells the keeper, who does it.
#pragma once

#include "ngx/key_publication.h"

#include "core/shared/file_fault.h"
#include "core/shared/key_changes.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace llm {

struct loader_event {
    enum class kind : uint8_t {
        fault,    // a file cannot be read, or the zone has no room for it; the others are gone on with
        warning,  // it can, but should be better
        staged,   // the table is written, and may be put in force
        followup, // to be done when it is
        done      // the last one, if all went well
    };

    kind what;
    uint32_t source = 0; // of a fault or a warning: its place among the zone's
    uint32_t line = 0;
    uint32_t column = 0;
    key_table* table = nullptr; // staged
    key_changes changes{};      // since the table in force
    key_followup followup{};
    size_t needed = 0; // done: subjects, see plan_followups()
    std::string_view text = {};
};

class key_loader {
public:
    enum class state : uint8_t { idle, waits, has_more, ended };

    key_loader() = default;
    key_loader(const key_loader&) = delete;
    key_loader& operator=(const key_loader&) = delete;
    ~key_loader() { stop(); }

    // Starts a child that reads those of the zone's files for which `reads` says so; the others keep their
    // keys. The caller has the publisher's ticket until the child is gone. False if it cannot be started:
    // errno says why.
    bool start(zone_conf& zone, const std::vector<bool>& reads);
    bool runs() const { return from_child_ >= 0; }
    // Tells what the child has said so far, for as long as `go_on()` is true. At `ended` the child is gone.
    state poll(const std::function<void(const loader_event&)>& tell, const std::function<bool()>& go_on);
    // Ends the child, if there is one.
    void stop();

private:
    bool read_some();
    bool next(loader_event& event);

    pid_t child_ = -1;
    int from_child_ = -1;
    std::vector<char> buffer_;
    size_t taken_ = 0; // bytes of it
    bool at_end_ = false;
};

} // namespace llm
