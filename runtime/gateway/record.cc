#include "gateway/record.h"

#include <sys/eventfd.h>

#include <memory>

namespace carrel::gateway {
namespace {

constexpr size_t kFullBytes = 16u << 20;
constexpr size_t kSignalBytes = 1u << 20;

size_t SizeOf(const Record& record) {
  size_t bytes = sizeof(Record);
  if (auto* statement = std::get_if<Statement>(&record))
    return bytes + statement->text.size() + statement->name.size() + statement->types.size() * 40;
  for (const auto& [name, value] : std::get<Event>(record).members)
    if (auto* text = std::get_if<std::string>(&value)) bytes += name.size() + text->size() + 40;
  return bytes;
}

Json ToJson(const Statement& statement) {
  Json json = {{"connection", statement.connection},
               {"statement", statement.number},
               {"how", statement.how},
               {"rows", statement.rows},
               {"bytes_in", statement.bytes_in},
               {"bytes_out", statement.bytes_out},
               {"began_ns", statement.began_ns}};
  if (statement.prepared != 0)
    json["prepared"] = statement.prepared;
  else
    json["text"] = statement.text;
  if (statement.part != 0) json["parts_before"] = statement.part;
  if (!statement.name.empty()) json["name"] = statement.name;
  if (!statement.types.empty()) json["types"] = statement.types;
  if (!statement.tag.empty()) json["tag"] = statement.tag;
  if (!statement.error.empty()) json["error"] = statement.error;
  if (statement.duration_ns >= 0)
    json["duration_us"] = statement.duration_ns / 1000;
  else
    json["unfinished"] = true;
  return json;
}

Json ToJson(const Event& event) {
  Json json = Json::object();
  if (event.connection != 0) json["connection"] = event.connection;
  for (const auto& [name, value] : event.members)
    std::visit([&, &key = name](const auto& member) { json[key] = member; }, value);
  return json;
}

}  // namespace

Result<std::unique_ptr<RecordQueue>> RecordQueue::Make() {
  auto queue = std::make_unique<RecordQueue>();
  queue->event_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!queue->event_) return SysFault("gateway", "eventfd");
  return queue;
}

void RecordQueue::Push(Record record) {
  const std::lock_guard lock(mutex_);
  bytes_ += SizeOf(record);
  if (auto* statement = std::get_if<Statement>(&record))
    if (std::string_view(statement->how) != "prepare") ++statements_;
  records_.push_back(std::move(record));
  // The supervisor looks ten times a second anyway; waking it for each statement would cost more
  // than the statement.
  if (bytes_ < kSignalBytes || signalled_) return;
  signalled_ = true;
  (void)::eventfd_write(event_.get(), 1);
}

bool RecordQueue::Full() const {
  const std::lock_guard lock(mutex_);
  return bytes_ >= kFullBytes;
}

uint64_t RecordQueue::statements() const {
  const std::lock_guard lock(mutex_);
  return statements_;
}

void RecordQueue::Cover(std::string& text) const {
  for (size_t at = 0; (at = text.find(secret_, at)) != std::string::npos; at += 2)
    text.replace(at, secret_.size(), "[]");
}

void RecordQueue::Cover(Record& record) const {
  if (secret_.empty()) return;
  if (auto* statement = std::get_if<Statement>(&record)) {
    for (std::string* text : {&statement->name, &statement->tag, &statement->error}) Cover(*text);
    return;
  }
  for (auto& [name, value] : std::get<Event>(record).members)
    if (auto* text = std::get_if<std::string>(&value)) Cover(*text);
}

Result<void> RecordQueue::Drain(const AppendRecord& append) {
  std::vector<Record> records;
  {
    const std::lock_guard lock(mutex_);
    records.swap(records_);
    bytes_ = 0;
    signalled_ = false;
    eventfd_t ignored = 0;
    (void)::eventfd_read(event_.get(), &ignored);
  }
  for (Record& record : records) {
    Cover(record);
    if (auto* statement = std::get_if<Statement>(&record))
      CARREL_TRY(append("statement", ToJson(*statement)));
    else
      CARREL_TRY(append(std::get<Event>(record).kind, ToJson(std::get<Event>(record))));
  }
  return {};
}

}  // namespace carrel::gateway
