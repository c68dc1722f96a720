// The file: opened with care, its statements, and its faults.
//
// The first fault stays until it is taken: what follows it does nothing, so that a transaction needs to be
// looked at once, at its end.
#pragma once

#include "state_result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <unordered_map>

struct sqlite3;
struct sqlite3_stmt;

namespace llm {

class database {
public:
    // A lock of another is waited for so long.
    static constexpr int busy_ms = 40;

    database() = default;
    ~database() { close(); }
    database(const database&) = delete;
    database& operator=(const database&) = delete;

    // Opens the file, makes it if there is none, and brings an older format up to date. Nothing is done with
    // what is no file of this user, of another program or of a later format; a damaged one is set aside, and
    // that is a fault as well.
    state_result open(const std::string& path);
    // Whether that would be possible, without a change: a damaged file is a fault, and stays where it is.
    // What is there is open for reading then.
    state_result look(const std::string& path);
    void close();
    // The same of a file that is not in its place any more.
    void leave();
    bool is_open() const { return db_ != nullptr; }
    // Whether the path still is the file that is open.
    bool is_in_place() const;

    // Takes the lock for writing. False if that fails.
    bool begin();
    // Commits; or, after a fault, rolls back and gives the fault. A damaged file is set aside then.
    state_result end();
    void roll_back();

    bool ok() const { return code_ == 0; }
    void run(const char* sql);
    void note(int code);
    // What SQLite itself cannot see: a value that is not what was written.
    void note_damage(const char* what);
    int changes() const;

private:
    friend class query;

    bool check_path();
    void open_checked();
    state_result take_fault();
    std::string set_aside();
    void refuse(state_fault fault, std::string text);
    bool make_file();
    void look_checked();
    sqlite3_stmt* prepared(const char* sql);

    std::string path_;
    sqlite3* db_ = nullptr;
    dev_t device_ = 0;
    ino_t inode_ = 0;
    int code_ = 0; // of SQLite
    std::string message_;
    state_fault refused_ = state_fault::none; // by checks of our own
    // By the address of their text.
    std::unordered_map<const char*, sqlite3_stmt*> statements_;
};

// One use of a statement, whose text must be a constant. Values are bound in their order.
class query {
public:
    query(database& db, const char* sql);
    ~query();
    query(const query&) = delete;
    query& operator=(const query&) = delete;

    query& bind(int64_t value);
    // Such as are above what SQLite's integers hold are as many as these hold.
    query& count(uint64_t value);
    query& bind(std::string_view text);
    query& blob(std::string_view bytes);
    query& null();

    // The next row, if there is one. What is read of it is good until the next.
    bool row();
    void run()
    {
        while (row()) {
        }
    }

    int64_t integer(int column) const;
    uint64_t number(int column) const
    {
        const int64_t n = integer(column);
        return n > 0 ? static_cast<uint64_t>(n) : 0;
    }
    std::string_view text(int column) const;
    bool is_null(int column) const;

private:
    database& db_;
    sqlite3_stmt* statement_;
    int next_ = 1;
};

} // namespace llm
