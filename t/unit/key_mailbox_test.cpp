#include "core/shared/key_mailbox.h"

#include <gtest/gtest.h>

#include <string>

namespace {

using namespace llm;

keys_read result_with(uint32_t keys)
{
    keys_read result;
    result.keys = keys;
    return result;
}

TEST(key_mailbox, answers_who_has_asked)
{
    key_mailbox mailbox;
    EXPECT_EQ(mailbox.open_request(), 0u);
    const uint64_t first = mailbox.ask();
    EXPECT_EQ(mailbox.answer(first), nullptr);
    EXPECT_EQ(mailbox.open_request(), first);
    mailbox.close(first, result_with(7));
    EXPECT_EQ(mailbox.open_request(), 0u);
    ASSERT_NE(mailbox.answer(first), nullptr);
    EXPECT_EQ(mailbox.answer(first)->keys, 7u);
}

TEST(key_mailbox, answers_all_who_asked_before_the_files_were_read_and_nobody_else)
{
    key_mailbox mailbox;
    const uint64_t first = mailbox.ask();
    const uint64_t second = mailbox.ask();
    const uint64_t seen = mailbox.open_request();
    const uint64_t late = mailbox.ask();
    mailbox.close(seen, result_with(1));
    EXPECT_NE(mailbox.answer(first), nullptr);
    EXPECT_NE(mailbox.answer(second), nullptr);
    EXPECT_EQ(mailbox.answer(late), nullptr);
    EXPECT_EQ(mailbox.open_request(), late);
    mailbox.close(late, result_with(2));
    EXPECT_EQ(mailbox.answer(first)->keys, 2u);
}

TEST(key_mailbox, tells_the_first_fault)
{
    keys_read result;
    result.add_fault("/a.json", {3, 4, "wrong"});
    result.add_fault("/b.json", {5, 6, "wrong too"});
    EXPECT_EQ(result.faults, 2u);
    EXPECT_EQ(result.path(), "/a.json");
    EXPECT_EQ(result.fault.text(), "wrong");
    EXPECT_EQ(result.fault.line, 3u);
    EXPECT_EQ(result.fault.column, 4u);
}

TEST(key_mailbox, cuts_what_is_too_long)
{
    keys_read result;
    result.add_fault(std::string(1000, 'p'), {0, 0, std::string(1000, 't')});
    EXPECT_EQ(result.path(), std::string(keys_read::max_path, 'p'));
    EXPECT_EQ(result.fault.text(), std::string(file_fault::max_text, 't'));
}

} // namespace
