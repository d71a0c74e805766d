#include "csv_file.h"

#include <unistd.h>

#include <filesystem>

namespace sqlrunner {

std::string CsvRecord(const Row& row) {
  if (row.size() == 1 && row[0].value_or("").empty()) return "\"\"\r\n";
  std::string record;
  for (size_t i = 0; i < row.size(); ++i) {
    if (i > 0) record += ',';
    const std::string text = row[i].value_or("");
    if (text.find_first_of(",\"\r\n") == std::string::npos) {
      record += text;
      continue;
    }
    record += '"';
    for (char c : text) record += c == '"' ? std::string("\"\"") : std::string(1, c);
    record += '"';
  }
  return record + "\r\n";
}

Outcome<CsvFile> CsvFile::Create(const std::string& path) {
  std::error_code error;
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  if (!parent.empty()) std::filesystem::create_directories(parent, error);
  // "T": no compression. The time in the head of a compressed file stays 0.
  File file(gzopen(path.c_str(), path.ends_with(".gz") ? "wbe6" : "wbeT"));
  if (!file) return Fail(Exit::kArguments, "cannot write the output file " + path);
  gzbuffer(file.get(), 1u << 17);
  return CsvFile(path, std::move(file));
}

CsvFile::~CsvFile() {
  if (file_) ::unlink(path_.c_str());
}

Outcome<> CsvFile::Write(const Row& row) {
  const std::string record = CsvRecord(row);
  if (gzwrite(file_.get(), record.data(), static_cast<unsigned>(record.size())) <= 0)
    return Fail(Exit::kDataFile, "cannot write to the output file " + path_);
  return {};
}

Outcome<> CsvFile::Finish() {
  if (gzclose(file_.release()) == Z_OK) return {};
  ::unlink(path_.c_str());
  return Fail(Exit::kDataFile, "cannot write to the output file " + path_);
}

}  // namespace sqlrunner
