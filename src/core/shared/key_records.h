// Keys of a table as records again, for the next table: a file whose text is as it was, or is none now, keeps
// its keys. May allocate.
#pragma once

#include "key_table.h"

namespace llm {

// The file must not be written over meanwhile.
key_file records_of(const key_table::file_info& file);

} // namespace llm
