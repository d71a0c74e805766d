// A CSV file as RFC 4180 has it, compressed when its name ends in ".gz".
#pragma once

#include <zlib.h>

#include <memory>
#include <string>
#include <vector>

#include "rows.h"

namespace sqlrunner {

/// One record with its line end. A field is quoted where it must be; NULL is an empty field. A
/// record of one empty field is "" in quotes: an empty line would be no record.
std::string CsvRecord(const Row& row);

class CsvFile {
 public:
  /// Makes the file's directories, and the file, or replaces it.
  static Outcome<CsvFile> Create(const std::string& path);
  CsvFile(CsvFile&&) = default;
  /// Removes the file, unless it was finished: half a result must not be taken for one.
  ~CsvFile();

  Outcome<> Write(const Row& row);
  Outcome<> Finish();

 private:
  struct Close {
    void operator()(gzFile file) const { gzclose(file); }
  };
  using File = std::unique_ptr<gzFile_s, Close>;
  CsvFile(std::string path, File file) : path_(std::move(path)), file_(std::move(file)) {}
  std::string path_;
  File file_;
};

}  // namespace sqlrunner
