#include "pipeline/yaml_document.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <sstream>

namespace carrel {
namespace {

constexpr size_t kMaxDepth = 16;

// Ends the parse; caught in ReadYaml.
struct Stop {
  YamlProblem problem;
};

TextPlace PlaceOf(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

// The line and column of a byte.
TextPlace PlaceAt(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return {1 + static_cast<int>(std::count(before.begin(), before.end(), '\n')),
          1 + static_cast<int>(offset - line_start)};
}

// nlohmann's serializer is strict about UTF-8: it says so by an exception.
bool IsUtf8(std::string_view text) try {
  (void)Json(text).dump();
  return true;
} catch (const Json::exception&) {
  return false;
}

std::optional<YamlProblem> CheckBytes(std::string_view text, size_t max_bytes) {
  if (text.size() > max_bytes)
    return YamlProblem{{},
                       "",
                       "the file has more than " + std::to_string(max_bytes) + " bytes",
                       "A project file is small; data belongs in other files"};
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte >= 0x20 && byte != 0x7f) || byte == '\n' || byte == '\t' || byte == '\r') continue;
    return YamlProblem{PlaceAt(text, i), "", "a control character (a UTF-16 file has many)",
                       "Save the file as plain UTF-8 text"};
  }
  if (IsUtf8(text)) return std::nullopt;
  size_t good = 0, bad = text.size();  // the longest prefix of whole lines that is UTF-8
  while (good < bad) {
    const size_t end = text.find('\n', good);
    if (end == std::string_view::npos || !IsUtf8(text.substr(good, end - good))) break;
    good = end + 1;
  }
  return YamlProblem{PlaceAt(text, good), "", "this line is not UTF-8",
                     "Save the file as UTF-8 text"};
}

// Builds the tree from the parser's events.
class Builder : public YAML::EventHandler {
 public:
  Builder(YamlNode& root, std::vector<YamlProblem>& problems) : root_(root), problems_(problems) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    YamlNode node;
    node.place = PlaceOf(mark);
    Leaf(std::move(node), "", anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { RefuseAnchor(PlaceOf(mark)); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node;
    node.kind = YamlNode::Kind::kScalar;
    node.place = PlaceOf(mark);
    node.text = value;
    node.quoted = tag == "!";
    Leaf(std::move(node), tag, anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kList, PlaceOf(mark), tag, anchor);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kMap, PlaceOf(mark), tag, anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  struct Frame {
    YamlNode node;
    std::optional<YamlNode> key;
    std::set<std::string> keys;
  };

  [[noreturn]] void Refuse(TextPlace place, std::string what, std::string hint) {
    throw Stop{{place, Path(), std::move(what), std::move(hint)}};
  }
  [[noreturn]] void RefuseAnchor(TextPlace place) {
    Refuse(place, "anchors and aliases (&, *) are not used in project files",
           "Write the value out where it is needed");
  }

  std::string Path() const {
    std::string path;
    for (const Frame& frame : open_)
      if (frame.key) path += (path.empty() ? "" : ".") + frame.key->text;
    return path;
  }

  void CheckProperties(TextPlace place, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0) RefuseAnchor(place);
    if (!tag.empty() && tag != "?" && tag != "!")
      Refuse(place, "tags such as !!binary are not used in project files", "Remove the tag");
  }

  void Leaf(YamlNode node, const std::string& tag, YAML::anchor_t anchor) {
    CheckProperties(node.place, tag, anchor);
    Add(std::move(node));
  }

  void Open(YamlNode::Kind kind, TextPlace place, const std::string& tag, YAML::anchor_t anchor) {
    CheckProperties(place, tag, anchor);
    if (open_.size() >= kMaxDepth)
      Refuse(place, "nested deeper than " + std::to_string(kMaxDepth), "A project file is flat");
    if (!open_.empty() && open_.back().node.IsMap() && !open_.back().key)
      Refuse(place, "a key must be a plain name", "Remove the brackets, or quote the text");
    Frame frame;
    frame.node.kind = kind;
    frame.node.place = place;
    open_.push_back(std::move(frame));
  }

  void Close() {
    YamlNode done = std::move(open_.back().node);
    open_.pop_back();
    Add(std::move(done));
  }

  void Add(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = open_.back();
    if (frame.node.IsList()) {
      frame.node.items.push_back(std::move(node));
    } else if (!frame.key) {
      if (!node.IsScalar()) Refuse(node.place, "a key must be a name", "Give the member a name");
      if (!frame.keys.insert(node.text).second)
        problems_.push_back({node.place, Path(), "the key \"" + node.text + "\" is here twice",
                             "Remove or rename one of them"});
      frame.key = std::move(node);
    } else {
      frame.node.members.push_back({std::move(*frame.key), std::move(node)});
      frame.key.reset();
    }
  }

  YamlNode& root_;
  std::vector<YamlProblem>& problems_;
  std::vector<Frame> open_;
};

// "-12", "3.5", "1e3": as the core schema has numbers.
OrderedJson PlainToJson(const std::string& text) {
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  const std::string digits = text.starts_with('+') ? text.substr(1) : text;
  const char* end = digits.data() + digits.size();
  int64_t whole = 0;
  if (auto [rest, error] = std::from_chars(digits.data(), end, whole);
      error == std::errc() && rest == end)
    return whole;
  double number = 0;
  if (auto [rest, error] = std::from_chars(digits.data(), end, number);
      error == std::errc() && rest == end && number - number == 0)
    return number;
  return text;
}

}  // namespace

const YamlNode* YamlNode::Find(std::string_view key) const {
  for (const auto& [name, value] : members)
    if (name.text == key) return &value;
  return nullptr;
}

std::vector<YamlProblem> ReadYaml(std::string_view text, size_t max_bytes, YamlNode& root) {
  if (auto problem = CheckBytes(text, max_bytes)) return {*problem};
  std::vector<YamlProblem> problems;
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    Builder builder(root, problems);
    if (!parser.HandleNextDocument(builder))
      return {{{}, "", "the file is empty", "It needs `version` and `actions`"}};
    YamlNode second;
    Builder rest(second, problems);
    if (parser.HandleNextDocument(rest))
      problems.push_back(
          {second.place, "", "a second document begins", "Remove the line with ---"});
  } catch (const Stop& stop) {
    problems.push_back(stop.problem);
  } catch (const YAML::Exception& error) {
    const TextPlace place = error.mark.is_null() ? TextPlace() : PlaceOf(error.mark);
    problems.push_back(
        {place, "", "this is not YAML: " + error.msg,
         "Look at the indentation, colons and quotes of this line and the one before"});
  }
  return problems;
}

OrderedJson ToJson(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return nullptr;
    case YamlNode::Kind::kScalar:
      return node.quoted ? OrderedJson(node.text) : PlainToJson(node.text);
    case YamlNode::Kind::kList: {
      OrderedJson list = OrderedJson::array();
      for (const YamlNode& item : node.items) list.push_back(ToJson(item));
      return list;
    }
    case YamlNode::Kind::kMap: {
      OrderedJson object = OrderedJson::object();
      for (const auto& [key, value] : node.members) object[key.text] = ToJson(value);
      return object;
    }
  }
  return nullptr;
}

}  // namespace carrel
