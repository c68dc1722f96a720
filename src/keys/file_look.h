// Files as they are seen from outside.
#pragma once

#include "core/shared/file_stamp.h"

#include <sys/stat.h>

namespace llm {

file_stamp stamp_of(const struct stat& info);
// Of what the path leads to, through all links.
file_stamp stamp_of(const char* path);

} // namespace llm
