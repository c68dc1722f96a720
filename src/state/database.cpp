#include "database.h"

#include "schema.h"

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

namespace llm {

namespace {

// The group may read it: there is no secret in it.
constexpr mode_t file_mode = 0640;

bool is_damage(int code)
{
    return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
}

state_fault fault_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return state_fault::busy;
    case SQLITE_FULL:
        return state_fault::full;
    case SQLITE_READONLY:
        return state_fault::read_only;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return state_fault::no_access;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return state_fault::damaged;
    default:
        return state_fault::io;
    }
}

state_fault fault_of_errno(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
        return state_fault::full;
    case EROFS:
        return state_fault::read_only;
    case EACCES:
    case EPERM:
    case ENOENT:
    case ENOTDIR:
        return state_fault::no_access;
    default:
        return state_fault::io;
    }
}

std::string one_line(std::string text)
{
    for (char& c : text) {
        c = static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
    return text;
}

} // namespace

void database::refuse(state_fault fault, std::string text)
{
    if (ok()) {
        code_ = SQLITE_ERROR;
        refused_ = fault;
        message_ = std::move(text);
    }
}

void database::note(int code)
{
    if (ok() && code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE) {
        code_ = code;
        message_ = db_ ? sqlite3_errmsg(db_) : sqlite3_errstr(code);
        if (db_ && ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN)) {
            const int number = sqlite3_system_errno(db_);
            if (number == ENOSPC || number == EDQUOT || number == EROFS) {
                refused_ = fault_of_errno(number);
            }
            if (number != 0) {
                message_ += std::string(": ") + strerror(number);
            }
        }
    }
}

void database::note_damage(const char* what)
{
    if (ok()) {
        code_ = SQLITE_CORRUPT;
        message_ = what;
    }
}

// What a fault leaves is taken with it.
state_result database::take_fault()
{
    state_result result;
    result.fault = refused_ != state_fault::none ? refused_ : fault_of(code_);
    result.text = one_line(path_ + ": " + message_);
    const bool damaged = refused_ == state_fault::none && is_damage(code_);
    if (damaged) {
        const std::string what = path_ + " is damaged (" + message_ + ")";
        result.text = one_line(what + set_aside());
    }
    code_ = 0;
    refused_ = state_fault::none;
    message_.clear();
    return result;
}

// A file that nobody may be led to by another: a plain one, of this user.
bool database::check_path()
{
    for (const char* end : {"", "-wal", "-shm", "-journal"}) {
        const std::string name = path_ + end;
        struct stat is {};
        if (lstat(name.c_str(), &is) != 0) {
            if (errno == ENOENT) {
                continue;
            }
            refuse(fault_of_errno(errno), strerror(errno));
            return false;
        }
        if (!S_ISREG(is.st_mode)) {
            const char* what = S_ISLNK(is.st_mode)   ? "is a symbolic link"
                               : S_ISDIR(is.st_mode) ? "is a directory"
                                                     : "is no plain file";
            refuse(state_fault::not_a_file, (*end ? name + " " : std::string()) + what);
            return false;
        }
        if (is.st_uid != geteuid()) {
            refuse(state_fault::no_access, (*end ? name + " " : std::string()) + "belongs to user "
                                               + std::to_string(is.st_uid) + ", this is user "
                                               + std::to_string(geteuid()));
            return false;
        }
    }
    return true;
}

bool database::make_file()
{
    const int fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, file_mode);
    if (fd >= 0) {
        ::close(fd);
    } else if (errno != EEXIST) {
        refuse(fault_of_errno(errno), std::string("cannot be made: ") + strerror(errno));
        return false;
    }
    return true;
}

state_result database::open(const std::string& path)
{
    close();
    path_ = path;
    if (check_path() && make_file()) {
        open_checked();
    }
    if (!ok()) {
        const state_result result = take_fault();
        close();
        return result;
    }
    return {};
}

state_result database::look(const std::string& path)
{
    close();
    path_ = path;
    if (check_path()) {
        look_checked();
    }
    state_result result;
    if (!ok()) {
        result = {refused_ != state_fault::none ? refused_ : fault_of(code_),
                  one_line(path_ + ": " + message_), false};
        close();
    }
    return result;
}

void database::look_checked()
{
    if (access(path_.c_str(), F_OK) != 0) {
        const std::string folder = path_.substr(0, path_.find_last_of('/') + 1);
        if (access(folder.c_str(), W_OK | X_OK) != 0) {
            refuse(fault_of_errno(errno), "cannot be made in " + folder + ": " + strerror(errno));
        }
        return;
    }
    if (access(path_.c_str(), R_OK | W_OK) != 0) {
        refuse(fault_of_errno(errno), strerror(errno));
        return;
    }
    const int opened =
        sqlite3_open_v2(path_.c_str(), &db_, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, nullptr);
    if (opened != SQLITE_OK) {
        note(opened);
        return;
    }
    sqlite3_busy_timeout(db_, busy_ms);
    const schema_version version = version_of(*this);
    if (ok() && version.fault != state_fault::none) {
        refuse(version.fault, version.text);
    }
}

void database::open_checked()
{
    const int opened =
        sqlite3_open_v2(path_.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
    if (opened != SQLITE_OK) {
        note(opened);
        return;
    }
    struct stat is {};
    if (stat(path_.c_str(), &is) != 0) {
        refuse(fault_of_errno(errno), strerror(errno));
        return;
    }
    device_ = is.st_dev;
    inode_ = is.st_ino;
    sqlite3_extended_result_codes(db_, 1);
    sqlite3_busy_timeout(db_, busy_ms);
    sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    if (sqlite3_db_readonly(db_, "main") == 1) {
        refuse(state_fault::read_only, "may not be written");
        return;
    }
    // What is another's is looked at before anything is changed.
    const schema_version version = version_of(*this);
    if (!ok()) {
        return;
    }
    if (version.fault != state_fault::none) {
        refuse(version.fault, version.text);
        return;
    }
    // A commit needs no disk to be waited for; a checkpoint does. So a killed process loses nothing that was
    // committed, and a power cut the last few seconds.
    {
        query mode(*this, "PRAGMA journal_mode = WAL");
        if (mode.row() && mode.text(0) != "wal") {
            refuse(state_fault::io, "cannot be used in WAL mode");
        }
    }
    run("PRAGMA synchronous = NORMAL");
    run("PRAGMA journal_size_limit = 67108864");
    run("PRAGMA cache_size = -16384");
    run("PRAGMA temp_store = MEMORY");
    if (version.is_old && begin()) {
        bring_up_to_date(*this);
        if (ok()) {
            run("COMMIT");
        }
    }
}

// What is out of its place, or damaged, is left alone: by its name the last one to close it would delete the
// log of the file that is there now.
void database::leave()
{
    if (db_) {
        sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    }
    close();
}

void database::close()
{
    for (const auto& [text, statement] : statements_) {
        sqlite3_finalize(statement);
    }
    statements_.clear();
    if (db_) {
        sqlite3_close_v2(db_);
        db_ = nullptr;
    }
    code_ = 0;
    refused_ = state_fault::none;
    message_.clear();
}

bool database::is_in_place() const
{
    struct stat is {};
    return db_ && lstat(path_.c_str(), &is) == 0 && is.st_dev == device_ && is.st_ino == inode_;
}

// Out of the way, with what belongs to it: never deleted, and never over another. What was done.
std::string database::set_aside()
{
    // Another process may have done it.
    if (db_ && !is_in_place()) {
        leave();
        return "; another has taken its place";
    }
    leave();
    char when[32];
    const time_t now = time(nullptr);
    tm utc{};
    gmtime_r(&now, &utc);
    strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &utc);
    std::string aside = path_ + ".damaged-" + when;
    struct stat is {};
    for (int i = 2; lstat(aside.c_str(), &is) == 0; i++) {
        aside = path_ + ".damaged-" + when + "-" + std::to_string(i);
    }
    if (rename(path_.c_str(), aside.c_str()) != 0) {
        return std::string(" and cannot be set aside: ") + strerror(errno);
    }
    for (const char* end : {"-wal", "-shm", "-journal"}) {
        rename((path_ + end).c_str(), (aside + end).c_str());
    }
    return "; it was set aside as " + aside;
}

bool database::begin()
{
    run("BEGIN IMMEDIATE");
    return ok();
}

state_result database::end()
{
    if (ok()) {
        run("COMMIT");
    }
    if (ok()) {
        return {};
    }
    roll_back();
    return take_fault();
}

void database::roll_back()
{
    if (db_ && !sqlite3_get_autocommit(db_)) {
        sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
    }
}

void database::run(const char* sql)
{
    if (ok()) {
        note(sqlite3_exec(db_, sql, nullptr, nullptr, nullptr));
    }
}

int database::changes() const
{
    return sqlite3_changes(db_);
}

sqlite3_stmt* database::prepared(const char* sql)
{
    sqlite3_stmt*& statement = statements_[sql];
    if (!statement) {
        note(sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr));
    }
    return statement;
}

query::query(database& db, const char* sql) : db_(db), statement_(db.ok() ? db.prepared(sql) : nullptr) {}

query::~query()
{
    if (statement_) {
        sqlite3_reset(statement_);
    }
}

query& query::bind(int64_t value)
{
    if (statement_) {
        db_.note(sqlite3_bind_int64(statement_, next_++, value));
    }
    return *this;
}

query& query::count(uint64_t value)
{
    return bind(value <= INT64_MAX ? static_cast<int64_t>(value) : INT64_MAX);
}

query& query::bind(std::string_view text)
{
    if (statement_) {
        const char* begin = text.data() ? text.data() : "";
        db_.note(
            sqlite3_bind_text(statement_, next_++, begin, static_cast<int>(text.size()), SQLITE_TRANSIENT));
    }
    return *this;
}

query& query::blob(std::string_view bytes)
{
    if (statement_) {
        const char* begin = bytes.data() ? bytes.data() : "";
        db_.note(
            sqlite3_bind_blob(statement_, next_++, begin, static_cast<int>(bytes.size()), SQLITE_TRANSIENT));
    }
    return *this;
}

query& query::null()
{
    if (statement_) {
        db_.note(sqlite3_bind_null(statement_, next_++));
    }
    return *this;
}

bool query::row()
{
    if (!statement_ || !db_.ok()) {
        return false;
    }
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) {
        return true;
    }
    db_.note(code);
    return false;
}

int64_t query::integer(int column) const
{
    return sqlite3_column_int64(statement_, column);
}

std::string_view query::text(int column) const
{
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
    return bytes ? std::string_view(bytes, static_cast<size_t>(sqlite3_column_bytes(statement_, column)))
                 : std::string_view();
}

bool query::is_null(int column) const
{
    return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

} // namespace llm
