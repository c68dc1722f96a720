#include "usage_query.h"

#include "schema.h"

#include <cerrno>
#include <cstring>
#include <memory>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

namespace llm {

namespace {

struct closer {
    void operator()(sqlite3* db) const { sqlite3_close(db); }
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using database_ptr = std::unique_ptr<sqlite3, closer>;
using statement_ptr = std::unique_ptr<sqlite3_stmt, closer>;

constexpr const char* names[] = {"date(hour, 'unixepoch')", "key", "user", "model"};

std::string sql_of(const usage_query& query)
{
    std::string columns, order;
    for (const usage_column each : query.by) {
        columns += std::string(columns.empty() ? "" : ", ") + names[static_cast<size_t>(each)];
    }
    const std::string sums =
        "sum(requests), sum(requests_refused), sum(prompt), sum(cached), sum(completion), sum(reasoning),"
        " sum(cache_write), sum(cost)";
    std::string sql = "SELECT " + columns + (columns.empty() ? "" : ", ") + sums
                      + " FROM usage WHERE hour >= ? AND hour < ?";
    if (query.by.empty()) {
        return sql;
    }
    for (const usage_column each : query.by) {
        if (each == usage_column::day) {
            order = std::string(names[0]) + ", ";
        }
    }
    return sql + " GROUP BY " + columns + " ORDER BY " + order + "sum(cost) DESC, " + columns;
}

std::string text_of(int code, sqlite3* db)
{
    switch (code & 0xff) {
    case SQLITE_NOTADB:
        return "is no SQLite database";
    case SQLITE_CORRUPT:
        return "is damaged";
    case SQLITE_BUSY:
        return "is locked by another program";
    default:
        return std::string("cannot be read: ") + (db ? sqlite3_errmsg(db) : sqlite3_errstr(code));
    }
}

int one_number(sqlite3* db, const char* sql, int64_t& value)
{
    sqlite3_stmt* made = nullptr;
    int code = sqlite3_prepare_v2(db, sql, -1, &made, nullptr);
    const statement_ptr statement(made);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement.get());
        value = code == SQLITE_ROW ? sqlite3_column_int64(statement.get(), 0) : 0;
    }
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

// As a URI, in which other characters have a meaning.
std::string uri_of(const std::string& path, bool is_still)
{
    std::string uri = "file:";
    for (const char c : path) {
        if (c == '%' || c == '?' || c == '#') {
            char escaped[4];
            snprintf(escaped, sizeof escaped, "%%%02X", static_cast<unsigned>(c));
            uri += escaped;
        } else {
            uri += c;
        }
    }
    return uri + (is_still ? "?mode=ro&immutable=1" : "?mode=ro");
}

std::optional<std::string> open_checked(const std::string& path, bool is_still, database_ptr& db)
{
    sqlite3* made = nullptr;
    int code = sqlite3_open_v2(uri_of(path, is_still).c_str(), &made, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI,
                               nullptr);
    db.reset(made);
    if (code != SQLITE_OK) {
        return text_of(code, made);
    }
    sqlite3_busy_timeout(made, 5000);
    int64_t application = 0, format = 0;
    code = one_number(made, "PRAGMA application_id", application);
    code = code == SQLITE_OK ? one_number(made, "PRAGMA user_version", format) : code;
    if (code != SQLITE_OK) {
        return text_of(code, made);
    }
    if (application != application_id) {
        return "is a database of another program";
    }
    if (format > state_format) {
        return "has format " + std::to_string(format) + ", this llmctl knows formats up to "
               + std::to_string(state_format);
    }
    return std::nullopt;
}

} // namespace

std::optional<std::string> read_usage(const std::string& path, const usage_query& query,
                                      std::vector<usage_row>& rows)
{
    struct stat info {};
    if (stat(path.c_str(), &info) != 0 || access(path.c_str(), R_OK) != 0) {
        return strerror(errno);
    }
    if (!S_ISREG(info.st_mode)) {
        return "is no regular file";
    }
    database_ptr db;
    auto error = open_checked(path, false, db);
    // Who may not write beside it cannot read a database in WAL mode, unless nobody writes it: then there is
    // no log.
    if (error && access((path + "-wal").c_str(), F_OK) != 0 && errno == ENOENT) {
        error = open_checked(path, true, db);
    }
    if (error) {
        return error;
    }
    sqlite3_stmt* made = nullptr;
    int code = sqlite3_prepare_v2(db.get(), sql_of(query).c_str(), -1, &made, nullptr);
    const statement_ptr statement(made);
    if (code != SQLITE_OK) {
        return text_of(code, db.get());
    }
    sqlite3_bind_int64(made, 1, query.from);
    sqlite3_bind_int64(made, 2, query.to);
    rows.clear();
    while ((code = sqlite3_step(made)) == SQLITE_ROW) {
        usage_row& row = rows.emplace_back();
        int column = 0;
        for (; column < static_cast<int>(query.by.size()); column++) {
            const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(made, column));
            row.names.emplace_back(text ? text : "", static_cast<size_t>(sqlite3_column_bytes(made, column)));
        }
        for (uint64_t* sum :
             {&row.sums.requests, &row.sums.refused, &row.sums.prompt, &row.sums.cached, &row.sums.completion,
              &row.sums.reasoning, &row.sums.cache_write, &row.sums.cost}) {
            *sum = static_cast<uint64_t>(sqlite3_column_int64(made, column++));
        }
    }
    return code == SQLITE_DONE ? std::nullopt : std::optional(text_of(code, db.get()));
}

} // namespace llm
