// PostgreSQL's types, as the log names them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace carrel::gateway::pg {

/// Of a count (two bytes) and so many OIDs: as many names as there are, 1000 at most and how many
/// more there would be.
std::vector<std::string> TypeNames(std::string_view counted);

}  // namespace carrel::gateway::pg
