#include "image/recipe_sources.h"

#include <fcntl.h>

#include <algorithm>
#include <sstream>

#include "base/fs.h"

namespace carrel {
namespace {

struct Entry {
  std::string types;
  std::string uris;
  std::string suites;
  std::string components;
  std::string signed_by;
  std::string enabled;
};

std::vector<std::string> Words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

bool Contains(const std::string& words, const std::string& word) {
  const std::vector<std::string> list = Words(words);
  return std::find(list.begin(), list.end(), word) != list.end();
}

// The suite's part after the code name ("", "-updates", "-security"), or false for another's suite.
bool IsDebianSuite(const std::string& name, const std::string& host_suite, std::string* part) {
  if (!name.starts_with(host_suite)) return false;
  *part = name.substr(host_suite.size());
  return part->empty() || *part == "-updates" || *part == "-security";
}

void AddEntry(const Entry& entry, const std::string& host_suite, const std::string& suite,
              std::vector<std::string>& lines) {
  if (!Contains(entry.types, "deb") || !Contains(entry.components, "main")) return;
  if (entry.enabled == "no") return;
  // A key that stands in the file itself has several lines; only a path fits in one.
  const bool key_file = entry.signed_by.starts_with('/');
  const std::string options = key_file ? "[signed-by=" + entry.signed_by + "] " : "";
  for (const std::string& uri : Words(entry.uris)) {
    if (uri.find("://") == std::string::npos || uri.starts_with("cdrom:")) continue;
    for (const std::string& name : Words(entry.suites)) {
      std::string part;
      if (!IsDebianSuite(name, host_suite, &part)) continue;
      lines.push_back("deb " + options + uri + " " + suite + part + " main");
    }
  }
}

std::string Trim(std::string text) {
  text.erase(0, std::min(text.find_first_not_of(" \t\r"), text.size()));
  text.erase(text.find_last_not_of(" \t\r") + 1);
  return text;
}

void SetField(Entry& entry, const std::string& name, const std::string& value) {
  if (name == "types") entry.types = value;
  if (name == "uris") entry.uris = value;
  if (name == "suites") entry.suites = value;
  if (name == "components") entry.components = value;
  if (name == "signed-by") entry.signed_by = value;
  if (name == "enabled") entry.enabled = value;
}

std::vector<Entry> ParseStanzas(std::string_view text) {
  std::vector<Entry> entries(1);
  std::istringstream in{std::string(text)};
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with('#')) continue;
    if (Trim(line).empty()) {
      entries.emplace_back();
      continue;
    }
    const size_t colon = line.find(':');
    if (colon == std::string::npos || line[0] == ' ' || line[0] == '\t') continue;
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(), ::tolower);
    SetField(entries.back(), name, Trim(line.substr(colon + 1)));
  }
  return entries;
}

// "deb [arch=amd64 signed-by=/key] URI SUITE COMPONENT..."
std::vector<Entry> ParseLines(std::string_view text) {
  std::vector<Entry> entries;
  std::istringstream in{std::string(text)};
  for (std::string line; std::getline(in, line);) {
    line = line.substr(0, line.find('#'));
    Entry entry;
    const size_t open = line.find('[');
    const size_t close = line.find(']');
    if (open != std::string::npos && close != std::string::npos && open < close) {
      for (const std::string& option : Words(line.substr(open + 1, close - open - 1)))
        if (option.starts_with("signed-by=")) entry.signed_by = option.substr(10);
      line.erase(open, close - open + 1);
    }
    const std::vector<std::string> words = Words(line);
    if (words.size() < 4) continue;
    entry.types = words[0];
    entry.uris = words[1];
    entry.suites = words[2];
    for (size_t i = 3; i < words.size(); ++i) entry.components += words[i] + " ";
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace

std::vector<std::string> DebianSources(std::string_view text, bool deb822,
                                       const std::string& host_suite, const std::string& suite) {
  std::vector<std::string> lines;
  for (const Entry& entry : deb822 ? ParseStanzas(text) : ParseLines(text))
    AddEntry(entry, host_suite, suite, lines);
  return lines;
}

Result<std::vector<std::string>> ReadDebianSources(const std::string& apt_dir,
                                                   const std::string& host_suite,
                                                   const std::string& suite) {
  std::vector<std::string> files;
  if (auto main_list = OpenPath(apt_dir + "/sources.list", O_RDONLY)) files = {"/sources.list"};
  if (auto dir = OpenPath(apt_dir + "/sources.list.d", O_RDONLY | O_DIRECTORY)) {
    CARREL_ASSIGN(auto names, ListDir(dir->get()));
    for (const std::string& name : names)
      if (name.ends_with(".list") || name.ends_with(".sources"))
        files.push_back("/sources.list.d/" + name);
  }
  std::vector<std::string> lines;
  for (const std::string& file : files) {
    CARREL_ASSIGN(std::string text, ReadFile(apt_dir + file));
    for (std::string& line : DebianSources(text, file.ends_with(".sources"), host_suite, suite))
      if (std::find(lines.begin(), lines.end(), line) == lines.end())
        lines.push_back(std::move(line));
  }
  if (lines.empty())
    return BadInput(apt_dir, "holds no entry of Debian's own for " + host_suite,
                    "Recipes are built from the machine's configured Debian sources: add one");
  return lines;
}

Result<std::string> HostSuite(const std::string& os_release) {
  CARREL_ASSIGN(std::string text, ReadFile(os_release));
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("VERSION_CODENAME=")) return line.substr(17);
  return BadInput(os_release, "names no VERSION_CODENAME", "Recipes are built on Debian");
}

std::string FetchOptions(std::string_view apt_config_dump) {
  static const std::string_view kKinds[] = {"Acquire::http", "Acquire::Check-",  "Acquire::Max-",
                                            "Acquire::Min-", "Acquire::Retries", "Acquire::Force"};
  std::istringstream in{std::string(apt_config_dump)};
  std::string kept;
  for (std::string line; std::getline(in, line);) {
    const bool wanted = std::any_of(std::begin(kKinds), std::end(kKinds),
                                    [&](std::string_view kind) { return line.starts_with(kind); });
    if (wanted && !line.ends_with(" \"\";")) kept += line + "\n";
  }
  return kept;
}

}  // namespace carrel
