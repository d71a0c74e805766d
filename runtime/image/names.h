// Names: of images ("python:v2"), and of files inside images, which are hostile text.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace carrel {

/// `raw` with every byte outside printable ASCII, and the backslash, as \xNN. A file name in an
/// image may hold line ends, terminal escapes and right-to-left marks: it is kept, and never
/// printed as it is.
std::string PrintableName(std::string_view raw);

/// kBadInput unless `name` is "name:tag": parts of [a-z0-9._-] that start and end with [a-z0-9],
/// separated by '/', at most 120 bytes; the tag [A-Za-z0-9_.-], 1 to 128 bytes. The small alphabet
/// leaves no room for homographs and case twins of a name.
Result<void> CheckImageName(const std::string& name);

/// The same, without a tag ("python").
bool IsImageNameWithoutTag(std::string_view name);

/// The file under names/ that stands for a checked name, and back. '/' becomes '%', which no name
/// holds.
std::string NameToFile(std::string name);
std::string FileToName(std::string file);

}  // namespace carrel
