// Whatever lies in the file's place, or becomes of it: it is said, nothing is lost, and all is well once it
// is mended.
#include "state_files.h"

#include <fstream>
#include <sstream>
#include <sys/mount.h>
#include <sys/stat.h>

using namespace llm;

namespace {

std::string bytes_of(const std::string& path)
{
    std::ifstream in(path, std::ios::binary);
    std::stringstream all;
    all << in.rdbuf();
    return all.str();
}

void write_file(const std::string& path, const std::string& bytes)
{
    std::ofstream(path, std::ios::binary) << bytes;
}

std::vector<std::string> set_aside(const std::string& dir)
{
    std::vector<std::string> all;
    for (const auto& entry : std::filesystem::directory_iterator(dir)) {
        const std::string name = entry.path().string();
        if (name.find(".damaged-") != std::string::npos && name.find("-shm") == std::string::npos
            && name.find("-wal") == std::string::npos) {
            all.push_back(name);
        }
    }
    return all;
}

// As an ordinary user, where this one is root.
class other_user {
public:
    static constexpr uid_t nobody = 65534;
    other_user() { EXPECT_EQ(seteuid(geteuid() == 0 ? nobody : geteuid()), 0); }
    ~other_user() { EXPECT_EQ(seteuid(getuid()), 0); }
};

class state_fault_test : public testing::Test {
protected:
    state_fault_test() { gone_masters.clear(); }

    // Something is in the way; then it is mended.
    template <class Mend>
    void fails_and_heals(gateway& g, state_fault fault, std::string_view says, Mend&& mend)
    {
        for (int i = 0; i < 3; i++) {
            g.use(0, 1, 1);
            const state_result r = g.turn();
            EXPECT_EQ(r.fault, fault) << r.text;
            EXPECT_NE(r.text.find(says), std::string::npos) << r.text;
            EXPECT_EQ(r.text.find('\n'), std::string::npos);
        }
        mend();
        g.use(1, 2, 2);
        g.write();
        same_sums(counters_by_key(path), g.by_key(), "counters");
        same_sums(usage_by_key(path), g.by_key(), "ledger");
    }

    temp_dir dir;
    std::string path = dir / "state.db";
};

} // namespace

TEST_F(state_fault_test, a_new_file_is_for_its_user)
{
    const mode_t mask = umask(0);
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    a.write();
    umask(mask);
    for (const char* end : {"", "-wal", "-shm"}) {
        struct stat is {};
        ASSERT_EQ(stat((path + end).c_str(), &is), 0) << end;
        EXPECT_EQ(is.st_mode & 0777 & ~0640u, 0u) << end;
    }
}

TEST_F(state_fault_test, what_is_no_file)
{
    gateway a(path, 1);
    ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
    fails_and_heals(a, state_fault::not_a_file, "is a directory", [&] { rmdir(path.c_str()); });
}

TEST_F(state_fault_test, a_fifo_is_not_waited_for)
{
    gateway a(path, 1);
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    fails_and_heals(a, state_fault::not_a_file, "no plain file", [&] { unlink(path.c_str()); });
}

TEST_F(state_fault_test, a_link_is_not_followed)
{
    for (const char* end : {"", "-wal"}) {
        gateway a(path, 1);
        const std::string target = dir / "target";
        write_file(target, "something");
        ASSERT_EQ(symlink(target.c_str(), (path + end).c_str()), 0);
        fails_and_heals(a, state_fault::not_a_file, "symbolic link", [&] { unlink((path + end).c_str()); });
        EXPECT_EQ(bytes_of(target), "something");
        a.store.reset();
        unlink(path.c_str());
    }
}

TEST_F(state_fault_test, no_directory)
{
    path = dir / "none/state.db";
    gateway a(path, 1);
    fails_and_heals(a, state_fault::no_access, "No such file", [&] { mkdir((dir / "none").c_str(), 0700); });
}

TEST_F(state_fault_test, another_users_file_and_no_rights)
{
    if (getuid() != 0) {
        GTEST_SKIP() << "only for root";
    }
    gateway a(path, 1);
    ASSERT_EQ(chmod(dir.path().c_str(), 0755), 0);
    {
        const other_user as;
        EXPECT_EQ(a.turn().fault, state_fault::no_access);
    }
    ASSERT_EQ(chown(dir.path().c_str(), other_user::nobody, 0), 0);
    write_file(path, "");
    {
        const other_user as;
        fails_and_heals(a, state_fault::no_access, "belongs to user 0",
                        [&] { std::filesystem::remove(path); });
    }
    // A file that may not be written; and then, one that may not be any more.
    a.store.reset();
    ASSERT_EQ(chmod(path.c_str(), 0440), 0);
    a.start();
    {
        const other_user as;
        fails_and_heals(a, state_fault::read_only, "", [&] { chmod(path.c_str(), 0640); });
    }
}

TEST_F(state_fault_test, another_programs_database_is_left_as_it_is)
{
    rows_of(path, "");
    sqlite3* db = nullptr;
    sqlite3_open(path.c_str(), &db);
    sqlite3_exec(db, "CREATE TABLE theirs(a); INSERT INTO theirs VALUES(1)", nullptr, nullptr, nullptr);
    sqlite3_close(db);
    const std::string before = bytes_of(path);
    gateway a(path, 1);
    fails_and_heals(a, state_fault::not_ours, "another program", [&] {
        EXPECT_EQ(bytes_of(path), before);
        std::filesystem::rename(path, path + ".theirs");
    });
    EXPECT_TRUE(set_aside(dir.path()).empty());
}

TEST_F(state_fault_test, a_newer_format_is_left_as_it_is)
{
    {
        gateway a(path, 1);
        ASSERT_TRUE(a.restore().ok());
        a.use(0, 1, 1);
        ASSERT_TRUE(a.close().ok());
    }
    rows_of(path, "PRAGMA user_version = 99");
    rows_of(path, "PRAGMA journal_mode = DELETE");
    const std::string before = bytes_of(path);
    gateway b(path, 2);
    const state_result r = b.restore();
    EXPECT_EQ(r.fault, state_fault::too_new);
    EXPECT_NE(r.text.find("format 99"), std::string::npos) << r.text;
    EXPECT_EQ(bytes_of(path), before);
    rows_of(path, "PRAGMA user_version = 2");
    b.write();
    same_sums(b.by_key(), {{"key0", {1, 1, 1, 2}}}, "then");
}

namespace {

// As the first versions made it. Not to be changed.
constexpr const char* format_0 = R"(
    CREATE TABLE meta(key TEXT PRIMARY KEY, value);
    CREATE TABLE counters(kind TEXT NOT NULL, name TEXT NOT NULL, requests INTEGER NOT NULL, prompt INTEGER NOT NULL,
        cached INTEGER NOT NULL, completion INTEGER NOT NULL, quota_day INTEGER NOT NULL,
        quota_month INTEGER NOT NULL, quota_total INTEGER NOT NULL, quota_at INTEGER NOT NULL,
        updated INTEGER NOT NULL, PRIMARY KEY(kind, name)) WITHOUT ROWID;
    CREATE TABLE usage(hour INTEGER NOT NULL, key TEXT NOT NULL, user TEXT NOT NULL, model TEXT NOT NULL,
        requests INTEGER NOT NULL, refused INTEGER NOT NULL, prompt INTEGER NOT NULL, cached INTEGER NOT NULL,
        completion INTEGER NOT NULL, cost INTEGER NOT NULL, PRIMARY KEY(hour, key, user, model)) WITHOUT ROWID;
    INSERT INTO meta VALUES('created', 1700000000000);
    INSERT INTO counters VALUES('key', 'key0', 7, 70, 20, 30, 100, 100, 0, 474780, 1709208000000);
    INSERT INTO counters VALUES('user', 'user0', 7, 70, 20, 30, 100, 100, 0, 474780, 1709208000000);
    INSERT INTO usage VALUES(474780, 'key0', 'user0', 'm', 7, 2, 70, 20, 30, 100);
    PRAGMA application_id = 1819045235;
)";

void make(const std::string& path, const std::string& sql)
{
    sqlite3* db = nullptr;
    sqlite3_open(path.c_str(), &db);
    char* error = nullptr;
    sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &error);
    EXPECT_EQ(error, nullptr) << error;
    sqlite3_close(db);
}

} // namespace

TEST_F(state_fault_test, an_older_format_is_brought_up_to_date)
{
    make(path, format_0);
    gateway a(path, 1);
    const state_result r = a.restore();
    ASSERT_TRUE(r.ok()) << r.text;
    same_sums(a.by_key(), {{"key0", {7, 70, 30, 100}}}, "restored");
    EXPECT_EQ(rows_of(path, "SELECT hour, requests, requests_ok, requests_refused, prompt, cost FROM usage"),
              (table_rows{{"1709208000", "7", "5", "2", "70", "100"}}));
    EXPECT_EQ(number_of(path, "PRAGMA user_version"), 2);
    a.use(0, 1, 1);
    a.write();
    same_sums(usage_by_key(path), a.by_key(), "ledger");
}

// In one transaction: what goes wrong on the way leaves it as it was.
TEST_F(state_fault_test, an_older_format_stays_whole)
{
    make(path, std::string(format_0) + "CREATE TABLE series(a);");
    gateway a(path, 1);
    EXPECT_EQ(a.restore().fault, state_fault::io);
    EXPECT_EQ(number_of(path, "PRAGMA user_version"), 0);
    EXPECT_EQ(number_of(path, "SELECT requests FROM usage"), 7);
    EXPECT_EQ(number_of(path, "SELECT requests FROM counters WHERE kind = 'key'"), 7);
    rows_of(path, "DROP TABLE series");
    a.write();
    same_sums(a.by_key(), {{"key0", {7, 70, 30, 100}}}, "restored");
}

TEST_F(state_fault_test, garbage_is_set_aside)
{
    std::string garbage;
    for (int i = 0; i < 100000; i++) {
        garbage += static_cast<char>(i * 7 % 251);
    }
    write_file(path, garbage);
    gateway a(path, 1);
    a.use(0, 1, 2);
    const state_result r = a.turn();
    EXPECT_EQ(r.fault, state_fault::damaged);
    EXPECT_NE(r.text.find("set aside as " + path + ".damaged-"), std::string::npos) << r.text;
    a.write();
    same_sums(counters_by_key(path), a.by_key(), "counters");
    same_sums(usage_by_key(path), a.by_key(), "ledger");
    ASSERT_EQ(set_aside(dir.path()).size(), 1u);
    EXPECT_EQ(bytes_of(set_aside(dir.path())[0]), garbage);
}

// Again and again, in the same second: none is written over.
TEST_F(state_fault_test, pages_are_damaged)
{
    constexpr size_t keys = 500;
    gateway a(path, 1, 0, keys, 4 << 20);
    ASSERT_TRUE(a.restore().ok());
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < keys; i++) {
            a.use(i, 1 + i, 1);
        }
        a.write();
        a.store.reset();
        std::string bytes = bytes_of(path);
        ASSERT_GT(bytes.size(), 100000u);
        std::fill(bytes.begin() + 4096, bytes.end(), 'x');
        write_file(path, bytes);
        a.start();
        a.use(0, 1, 1);
        EXPECT_EQ(a.turn().fault, state_fault::damaged);
        a.write();
        // What is in the zone is the truth.
        same_sums(counters_by_key(path), a.by_key(), "counters");
        EXPECT_EQ(total(usage_by_key(path)), total(a.by_key()));
        EXPECT_EQ(set_aside(dir.path()).size(), static_cast<size_t>(round) + 1);
    }
}

TEST_F(state_fault_test, deleted_and_replaced_while_it_is_open)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    a.use(0, 1, 1);
    a.write();
    for (const char* end : {"", "-wal", "-shm"}) {
        unlink((path + end).c_str());
    }
    a.use(0, 1, 1);
    a.write();
    same_sums(counters_by_key(path), a.by_key(), "deleted");
    same_sums(usage_by_key(path), a.by_key(), "deleted");
    // Another one in its place, with a log of its own.
    gateway other(dir / "other.db", 2);
    ASSERT_TRUE(other.restore().ok());
    ASSERT_TRUE(other.close().ok());
    std::filesystem::rename(dir / "other.db", path);
    a.use(1, 1, 1);
    a.write();
    same_sums(counters_by_key(path), a.by_key(), "replaced");
    same_sums(usage_by_key(path), a.by_key(), "replaced");
    EXPECT_TRUE(set_aside(dir.path()).empty());
}

TEST_F(state_fault_test, locked_by_another)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
    fails_and_heals(a, state_fault::busy, "locked", [&] { sqlite3_close(db); });
}

TEST_F(state_fault_test, read_by_another)
{
    gateway a(path, 1);
    ASSERT_TRUE(a.restore().ok());
    a.use(0, 1, 1);
    a.write();
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(db, "BEGIN; SELECT * FROM usage", nullptr, nullptr, nullptr), SQLITE_OK);
    for (int i = 0; i < 50; i++) {
        a.use(0, 1, 1);
        a.write();
    }
    sqlite3_close(db);
    same_sums(counters_by_key(path), a.by_key(), "counters");
}

TEST_F(state_fault_test, the_disk_is_full)
{
    const std::string disk = dir / "disk";
    ASSERT_EQ(mkdir(disk.c_str(), 0700), 0);
    if (mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=1m") != 0) {
        GTEST_SKIP() << "no tmpfs can be mounted here";
    }
    path = disk + "/state.db";
    {
        gateway a(path, 1);
        ASSERT_TRUE(a.restore().ok());
        a.use(0, 1, 1);
        a.write();
        {
            std::ofstream filler(disk + "/filler", std::ios::binary);
            const std::string block(4096, 'x');
            while (filler.write(block.data(), 4096) && filler.flush()) {
            }
        }
        for (uint64_t i = 0; i < 2000 && a.turn().ok(); i++) {
            a.use(i % 8, 1, 1, "model" + std::to_string(i));
        }
        fails_and_heals(a, state_fault::full, "", [&] { unlink((disk + "/filler").c_str()); });
        // A new file, likewise.
        const state_options options = a.options;
    }
    EXPECT_EQ(umount(disk.c_str()), 0);
}

// Whatever was not a file of ours before a fault is not one of ours after it.
TEST_F(state_fault_test, every_fault_has_a_name)
{
    std::set<std::string_view> names;
    for (int f = 0; f <= static_cast<int>(state_fault::io); f++) {
        names.insert(state_fault_name(static_cast<state_fault>(f)));
    }
    EXPECT_EQ(names.size(), static_cast<size_t>(state_fault::io) + 1);
}
