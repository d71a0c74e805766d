#include <libpq-fe.h>

#include <cstring>
#include <string_view>

#include "rows.h"

namespace sqlrunner {
namespace {

struct Release {
  void operator()(PGconn* connection) const { PQfinish(connection); }
  void operator()(PGresult* result) const { PQclear(result); }
};
using Connection = std::unique_ptr<PGconn, Release>;
using Reply = std::unique_ptr<PGresult, Release>;

std::string StateOf(const PGresult* result) {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  return state == nullptr ? "" : state;
}

// By the class of the SQLSTATE (PostgreSQL's manual, appendix A).
Exit ExitFor(const std::string& state) {
  const std::string_view kind = std::string_view(state).substr(0, 2);
  // Not granted; a change in the read-only transaction.
  if (state == "42501" || state == "25006") return Exit::kPermission;
  if (state == "57014") return Exit::kTooSlow;  // cancelled, as by statement_timeout
  if (kind == "54") return Exit::kTooComplex;
  // Connection, transaction rollback, resources, operator intervention; none: the link broke.
  if (kind == "08" || kind == "40" || kind == "53" || kind == "57" || kind.empty())
    return Exit::kTransient;
  return Exit::kDatabase;
}

// PostgreSQL quotes values in its messages ("invalid input syntax for type integer: ..."): while a
// query runs, only the code of the error is told.
tl::unexpected<Failure> RunFailure(const PGresult* result) {
  const std::string state = StateOf(result);
  return Fail(ExitFor(state), "the query failed: SQLSTATE " + (state.empty() ? "unknown" : state));
}

bool Succeeded(const PGresult* result) {
  const ExecStatusType status = PQresultStatus(result);
  return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_SINGLE_TUPLE;
}

class PostgresRows : public Rows {
 public:
  PostgresRows(Connection connection, Reply first)
      : connection_(std::move(connection)), reply_(std::move(first)) {
    for (int i = 0; i < PQnfields(reply_.get()); ++i) columns_.push_back(PQfname(reply_.get(), i));
  }

  const std::vector<std::string>& columns() const override { return columns_; }

  Outcome<bool> Next(Row& row) override {
    if (!reply_) reply_.reset(PQgetResult(connection_.get()));
    if (!Succeeded(reply_.get())) return RunFailure(reply_.get());
    if (PQntuples(reply_.get()) == 0) return false;
    row.resize(columns_.size());
    for (size_t i = 0; i < row.size(); ++i) row[i] = Value(static_cast<int>(i));
    reply_.reset();
    return true;
  }

 private:
  std::optional<std::string> Value(int column) const {
    if (PQgetisnull(reply_.get(), 0, column)) return std::nullopt;
    return std::string(PQgetvalue(reply_.get(), 0, column), PQgetlength(reply_.get(), 0, column));
  }

  Connection connection_;
  Reply reply_;  // a row that was fetched and not yet given
  std::vector<std::string> columns_;
};

}  // namespace

Outcome<std::unique_ptr<Rows>> QueryPostgres(const std::string& url, const std::string& sql) {
  Connection connection(PQconnectdb(url.c_str()));
  if (PQstatus(connection.get()) != CONNECTION_OK)
    return Fail(Exit::kTransient, "cannot connect to the database server");
  // Notices can quote values too.
  PQsetNoticeReceiver(
      connection.get(), [](void*, const PGresult*) {}, nullptr);
  Reply begun(PQexec(connection.get(), "BEGIN READ ONLY"));
  if (!Succeeded(begun.get())) return RunFailure(begun.get());
  Reply prepared(PQprepare(connection.get(), "", sql.c_str(), 0, nullptr));
  // Nothing has run yet: the message speaks of the query's own text and of the schema.
  if (!Succeeded(prepared.get())) {
    const char* text = PQresultErrorField(prepared.get(), PG_DIAG_MESSAGE_PRIMARY);
    return Fail(ExitFor(StateOf(prepared.get())),
                std::string("the query is refused by the database: ") + (text ? text : "unknown"));
  }
  if (!PQsendQueryPrepared(connection.get(), "", 0, nullptr, nullptr, nullptr, 0) ||
      !PQsetSingleRowMode(connection.get()))
    return Fail(Exit::kTransient, "the connection to the database server was lost");
  Reply first(PQgetResult(connection.get()));
  if (!Succeeded(first.get())) return RunFailure(first.get());
  if (PQresultStatus(first.get()) == PGRES_COMMAND_OK)
    return Fail(Exit::kDatabase, "the file must hold one statement, which gives rows");
  return std::make_unique<PostgresRows>(std::move(connection), std::move(first));
}

}  // namespace sqlrunner
