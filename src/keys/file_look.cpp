#include "file_look.h"

#include <cerrno>

namespace llm {

namespace {

int64_t nanoseconds(const timespec& t)
{
    return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

} // namespace

file_stamp stamp_of(const struct stat& info)
{
    return {info.st_dev,
            info.st_ino,
            static_cast<uint64_t>(info.st_size),
            nanoseconds(info.st_mtim),
            nanoseconds(info.st_ctim),
            0};
}

file_stamp stamp_of(const char* path)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        file_stamp none;
        none.error = errno;
        return none;
    }
    return stamp_of(info);
}

} // namespace llm
