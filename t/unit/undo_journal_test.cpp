#include "core/shared/undo_journal.h"

#include <gtest/gtest.h>

using namespace llm;

TEST(undo_journal, puts_back_what_was_not_committed)
{
    undo_journal journal;
    uint64_t a[3] = {1, 2, 3}, b = 4;
    journal.keep(a, sizeof a);
    a[1] = 20;
    journal.keep(&b, sizeof b);
    b = 40;
    journal.roll_back();
    EXPECT_EQ(a[1], 2u);
    EXPECT_EQ(b, 4u);
    a[1] = 20;
    journal.roll_back();
    EXPECT_EQ(a[1], 20u);
}

TEST(undo_journal, forgets_what_was_committed)
{
    undo_journal journal;
    uint64_t a = 1;
    journal.keep(&a, sizeof a);
    a = 2;
    journal.commit();
    journal.roll_back();
    EXPECT_EQ(a, 2u);
}

TEST(undo_journal, a_block_kept_twice_comes_back_as_it_was_first)
{
    undo_journal journal;
    uint64_t a = 1;
    journal.keep(&a, sizeof a);
    a = 2;
    journal.keep(&a, sizeof a);
    a = 3;
    journal.roll_back();
    EXPECT_EQ(a, 1u);
}
