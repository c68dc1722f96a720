// Changes of a file that others may change, too.

#include "ctl/exit_code.h"
#include "ctl/file_edit.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace llm::ctl {
namespace {

class file_edit : public testing::Test {
protected:
    void SetUp() override
    {
        char name[] = "/tmp/llm-file-edit-XXXXXX";
        ASSERT_TRUE(mkdtemp(name));
        folder = name;
        path = folder + "/keys.json";
    }
    void TearDown() override { std::filesystem::remove_all(folder); }

    void put(const std::string& file, const std::string& text) { std::ofstream(file) << text; }
    std::string get(const std::string& file)
    {
        std::ifstream in(file);
        return std::string(std::istreambuf_iterator<char>(in), {});
    }
    // Nothing but this file is in the folder.
    void expect_alone()
    {
        for (const auto& each : std::filesystem::directory_iterator(folder)) {
            EXPECT_EQ(each.path(), path);
        }
    }

    std::string folder, path;
};

TEST_F(file_edit, begins_anew_if_others_change_the_file)
{
    put(path, "a");
    int calls = 0;
    const auto error = edit_file(path, {}, [&](std::string& text, bool is_new, int&) {
        EXPECT_FALSE(is_new);
        calls++;
        if (calls == 1) {
            put(path, "an editor writes in place");
        } else if (calls == 2) {
            put(path + "~", "an editor renames");
            rename((path + "~").c_str(), path.c_str());
        }
        text += "!";
        return true;
    });
    EXPECT_FALSE(error);
    EXPECT_EQ(calls, 3);
    EXPECT_EQ(get(path), "an editor renames!");
    expect_alone();
}

TEST_F(file_edit, gives_up_in_the_end)
{
    put(path, "a");
    int calls = 0;
    const auto error = edit_file(path, {}, [&](std::string& text, bool, int&) {
        put(path, "b" + std::to_string(++calls));
        text += "!";
        return true;
    });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code, exit_failed);
    EXPECT_EQ(get(path), "b" + std::to_string(calls));
    expect_alone();
}

TEST_F(file_edit, a_file_that_comes_or_goes_meanwhile)
{
    int calls = 0;
    EXPECT_FALSE(edit_file(path, {true, {}}, [&](std::string& text, bool is_new, int&) {
        if (calls++ == 0) {
            EXPECT_TRUE(is_new);
            put(path, "others");
        } else {
            EXPECT_FALSE(is_new);
        }
        text += "!";
        return true;
    }));
    EXPECT_EQ(get(path), "others!");
    const auto error = edit_file(path, {}, [&](std::string& text, bool, int&) {
        unlink(path.c_str());
        text = "x";
        return true;
    });
    ASSERT_TRUE(error);
    EXPECT_FALSE(std::filesystem::exists(path));
    expect_alone();
}

TEST_F(file_edit, what_a_killed_one_has_left_goes)
{
    put(path, "a");
    put(folder + "/.keys.json.llmctl", "half");
    EXPECT_FALSE(edit_file(path, {}, [](std::string& text, bool, int&) {
        text = "b";
        return true;
    }));
    EXPECT_EQ(get(path), "b");
    expect_alone();
}

TEST_F(file_edit, no_change_and_no_wish_leave_the_file)
{
    put(path, "a");
    struct stat before {
    }, after{};
    stat(path.c_str(), &before);
    EXPECT_FALSE(edit_file(path, {}, [](std::string&, bool, int&) { return true; }));
    const auto error = edit_file(path, {}, [](std::string& text, bool, int& code) {
        text = "b";
        code = exit_wrong;
        return false;
    });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code, exit_wrong);
    stat(path.c_str(), &after);
    EXPECT_EQ(before.st_ino, after.st_ino);
    EXPECT_EQ(get(path), "a");
}

TEST_F(file_edit, what_is_no_file)
{
    const text_change never = [](std::string&, bool, int&) {
        ADD_FAILURE();
        return false;
    };
    EXPECT_TRUE(edit_file(folder, {}, never));
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    EXPECT_TRUE(edit_file(path, {}, never));
    EXPECT_TRUE(edit_file(folder + "/none/keys.json", {}, never));
    EXPECT_TRUE(edit_file(path + "/keys.json", {true, {}}, never));
}

} // namespace
} // namespace llm::ctl
