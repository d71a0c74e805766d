// The forms that names take in job definitions, policies and configuration. ASCII only: no two
// names that look the same are different (homographs), and no name is a path.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace carrel {

/// [A-Za-z0-9][A-Za-z0-9_.-]*, at most 128 bytes, without "..": job ids, workspaces, actions,
/// projects, users, databases, tools. Safe as one path component.
bool IsName(std::string_view text);

/// A full SHA-1 (40) or SHA-256 (64) object id in lower-case hexadecimal.
bool IsCommitHash(std::string_view text);

/// [A-Za-z_][A-Za-z0-9_]*, at most 128 bytes.
bool IsEnvironmentName(std::string_view text);

/// The ending of a file's name, such as ".csv" or ".csv.gz", in lower case.
bool IsFileType(std::string_view text);

/// With a to z for A to Z: names that differ in case only are not told apart by people.
std::string Lower(std::string text);

/// The same for names that people take for one another: by case, 0 and O, 1, I and l, or which of
/// "-", "_" and "." stands in them.
std::string LookAlike(const std::string& name);

struct ImageReference {
  std::string name;  ///< "python", or "registry.example/team/python"
  std::string tag;   ///< "v2"
};

/// "name:tag" as OCI registries write it; a missing tag, upper case in the name or a digest is
/// nullopt.
std::optional<ImageReference> ParseImageReference(std::string_view text);

/// "4G", "512M", "1.5g", "4GB", "512MiB", "1048576": bytes, with powers of 1024. nullopt when it is
/// no such text or more than 2^62.
std::optional<uint64_t> ParseByteSize(std::string_view text);

/// For people: "512 MiB", "1.5 GiB"; "2", "0.5" of thousandths.
std::string HumanBytes(uint64_t bytes);
std::string HumanCpus(uint64_t milli);

/// "2", "0.5": thousandths of a processor. nullopt when it is no such text or more than 2^31.
std::optional<uint64_t> ParseMilliCpus(std::string_view text);

/// A calendar date "2026-08-31" as nanoseconds since the epoch at its first instant in UTC.
std::optional<int64_t> ParseDate(std::string_view text);

}  // namespace carrel
