#include "job/csv_sniff.h"

#include <algorithm>
#include <deque>

#include "job/identifier_names.h"

namespace carrel {
namespace {

constexpr std::string_view kDelimiters = ",;\t|";
// Where a header hides after lines of another kind, values follow it closely.
constexpr size_t kFollowingRecords = 5;
// A record that lists identifiers across: a transposed table.
constexpr size_t kTransposedFields = 8;

bool IsAlnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Cuts a text into records of raw fields (quotes still on).
class RecordReader {
 public:
  RecordReader(std::string_view text, char delimiter) : rest_(text), delimiter_(delimiter) {}

  // False at the end. Blank records are passed over.
  bool Next(std::vector<std::string_view>* fields) {
    while (!rest_.empty()) {
      ReadRecord(fields);
      if (fields->size() > 1 || !TrimField((*fields)[0]).empty()) return true;
    }
    return false;
  }
  bool unbalanced() const { return unbalanced_; }

 private:
  void ReadRecord(std::vector<std::string_view>* fields) {
    fields->clear();
    for (;;) {
      const size_t end = FieldEnd();
      fields->push_back(rest_.substr(0, end));
      const char stop = end < rest_.size() ? rest_[end] : '\n';
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
      if (stop == delimiter_) continue;
      if (stop == '\r' && rest_.starts_with('\n')) rest_.remove_prefix(1);
      return;
    }
  }

  size_t FieldEnd() {
    size_t i = 0;
    if (rest_.starts_with('"')) {
      for (i = 1;; i += 2) {
        i = rest_.find('"', i);
        if (i == std::string_view::npos) {
          unbalanced_ = true;
          return rest_.size();
        }
        if (i + 1 >= rest_.size() || rest_[i + 1] != '"') break;
      }
      ++i;
    }
    while (i < rest_.size() && rest_[i] != delimiter_ && rest_[i] != '\n' && rest_[i] != '\r') ++i;
    return i;
  }

  std::string_view rest_;
  char delimiter_;
  bool unbalanced_ = false;
};

// Follows the records for columns of identifiers: in the header always; in a later record when
// values that look like identifiers stand below it or beside it.
class IdentifierWatch {
 public:
  void See(const std::vector<std::string_view>& fields) {
    for (auto& [column, left] : open_) {
      found_ =
          found_ || (column < fields.size() && LooksLikeIdentifierValue(TrimField(fields[column])));
      --left;
    }
    while (!open_.empty() && open_.front().second == 0) open_.pop_front();
    const bool comment = TrimField(fields[0]).starts_with('#');
    for (size_t column = 0; column < fields.size(); ++column) {
      if (!IsPatientIdentifier(fields[column])) continue;
      if ((!comment && !header_seen_) || Transposed(fields, column)) found_ = true;
      if (open_.size() < 64) open_.emplace_back(column, kFollowingRecords);
    }
    header_seen_ = header_seen_ || !comment;
  }
  bool found() const { return found_; }

 private:
  static bool Transposed(const std::vector<std::string_view>& fields, size_t column) {
    if (fields.size() - column - 1 < kTransposedFields) return false;
    return std::all_of(
        fields.begin() + static_cast<std::ptrdiff_t>(column) + 1, fields.end(),
        [](std::string_view field) { return LooksLikeIdentifierValue(TrimField(field)); });
  }
  std::deque<std::pair<size_t, size_t>> open_;  // column, records still to look at
  bool header_seen_ = false;
  bool found_ = false;
};

}  // namespace

std::string_view TrimField(std::string_view field) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  const auto trim = [&] {
    while (!field.empty() && is_space(field.front())) field.remove_prefix(1);
    while (!field.empty() && is_space(field.back())) field.remove_suffix(1);
  };
  trim();
  if (field.size() >= 2 && field.front() == field.back() &&
      (field.front() == '"' || field.front() == '\'')) {
    field = field.substr(1, field.size() - 2);
    trim();
  }
  return field;
}

bool LooksLikeIdentifierValue(std::string_view value) {
  if (value.ends_with(".0")) value.remove_suffix(2);  // whole numbers as pandas writes floats
  if (value.empty() || value.size() > 128) return false;
  size_t digits = 0, hexadecimal = 0;
  for (char c : value) {
    if (!IsAlnum(c) && c != '-' && c != '_') return false;
    if (c >= '0' && c <= '9') ++digits;
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) ++hexadecimal;
  }
  const size_t dashes = static_cast<size_t>(std::count(value.begin(), value.end(), '-'));
  return 2 * digits >= value.size() || (hexadecimal >= 16 && hexadecimal + dashes == value.size());
}

CsvShape SniffCsv(std::string_view text) {
  CsvShape shape;
  for (char delimiter : kDelimiters) {
    RecordReader reader(text, delimiter);
    IdentifierWatch watch;
    std::vector<std::string_view> fields;
    int64_t rows = -1, columns = 0;
    while (reader.Next(&fields)) {
      if (++rows == 0) columns = static_cast<int64_t>(fields.size());
      watch.See(fields);
    }
    rows = std::max<int64_t>(rows, 0);
    if (columns > shape.columns) {
      shape.delimiter = delimiter;
      shape.columns = columns;
      shape.rows = rows;
    }
    shape.most_rows = std::max(shape.most_rows, rows);
    shape.unbalanced = shape.unbalanced || reader.unbalanced();
    shape.identifiers = shape.identifiers || watch.found();
  }
  return shape;
}

}  // namespace carrel
