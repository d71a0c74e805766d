// pipeline URL: libpq's pipeline mode, with errors in the middle of pipelines; prints what came of
// each request, so that two ways to a server can be compared.
#include <libpq-fe.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

PGconn* connection = nullptr;

void Check(int good, const char* what) {
  if (good != 0) return;
  std::fprintf(stderr, "%s: %s", what, PQerrorMessage(connection));
  std::exit(1);
}

void Ask(const std::string& sql, const char* parameter = nullptr) {
  Check(PQsendQueryParams(connection, sql.c_str(), parameter != nullptr, nullptr,
                          parameter != nullptr ? &parameter : nullptr, nullptr, nullptr, 0),
        "PQsendQueryParams");
}
void Sync() { Check(PQpipelineSync(connection), "PQpipelineSync"); }

// One line: "ok:1", "22012", "aborted", "sync".
void Show(PGresult* result) {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
      std::printf("ok:%s ", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
      break;
    case PGRES_COMMAND_OK:
      std::printf("done:%s ", PQcmdTuples(result));
      break;
    case PGRES_PIPELINE_SYNC:
      std::printf("sync\n");
      break;
    case PGRES_PIPELINE_ABORTED:
      std::printf("aborted ");
      break;
    default:
      std::printf("%s ", state != nullptr ? state : "?");
  }
  PQclear(result);
}

// The results of so many requests; each ends with a null, but a Sync.
void Read(int requests) {
  for (; requests > 0; --requests) {
    PGresult* result = PQgetResult(connection);
    if (result == nullptr) {
      std::fprintf(stderr, "no result: %s", PQerrorMessage(connection));
      std::exit(1);
    }
    const bool sync = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    Show(result);
    while (!sync && (result = PQgetResult(connection)) != nullptr) Show(result);
  }
  std::fflush(stdout);
}

void ErrorsInTheMiddle() {
  Ask("select 1");
  Ask("select 1/0");
  Ask("select 'never run 1'");
  Sync();
  Ask("select 2");
  Ask("selec nonsense");
  Ask("select 'never run 2'");
  Sync();
  Ask("select $1::int", "no number");
  Ask("select 'never run 3'");
  Sync();
  Ask("select 3");
  Sync();
  Read(13);
}

void PreparedStatements() {
  Check(PQsendPrepare(connection, "p", "select 10 / $1::int", 1, nullptr), "PQsendPrepare");
  const char* values[] = {"5", "0", "2"};
  for (const char*& value : values)
    Check(PQsendQueryPrepared(connection, "p", 1, &value, nullptr, nullptr, 0), "prepared");
  Check(PQsendDescribePrepared(connection, "p"), "describe");
  Sync();
  Check(PQsendPrepare(connection, "p", "select 'a second p'", 0, nullptr), "PQsendPrepare");
  Check(PQsendQueryPrepared(connection, "nosuch", 0, nullptr, nullptr, nullptr, 0), "prepared");
  Sync();
  Check(PQsendQueryPrepared(connection, "p", 1, values, nullptr, nullptr, 0), "prepared");
  Sync();
  Read(11);
}

// An answer before any Sync, and one transaction over two of them.
void FlushesAndTransactions() {
  Ask("select 4");
  Check(PQsendFlushRequest(connection), "flush");
  Check(PQflush(connection) == 0, "PQflush");
  Read(1);
  Ask("begin");
  Ask("create temporary table t(a int)");
  Sync();
  Ask("insert into t select generate_series(1, 7)");
  Ask("insert into t values ('x')");
  Sync();
  Ask("select 5");
  Sync();
  Ask("rollback");
  Sync();
  Read(10);
}

// Many pipelines on the way at once; every seventh request fails, in another place each time.
void ManyErrors() {
  int failed = 0, aborted = 0, good = 0;
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 60; ++i) {
      const int number = round * 60 + i;
      Ask(number % 7 == 3 ? "select 1 / (" + std::to_string(number) + " * 0)"
                          : "select " + std::to_string(number));
      if (i % 5 == 4) Sync();
    }
    for (int i = 0; i < 60 + 12; ++i) {
      PGresult* result = PQgetResult(connection);
      const ExecStatusType status = PQresultStatus(result);
      good += status == PGRES_TUPLES_OK;
      failed += status == PGRES_FATAL_ERROR;
      aborted += status == PGRES_PIPELINE_ABORTED;
      PQclear(result);
      if (status != PGRES_PIPELINE_SYNC && PQgetResult(connection) != nullptr) std::exit(1);
    }
  }
  std::printf("good %d, failed %d, aborted %d\n", good, failed, aborted);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  connection = PQconnectdb(argv[1]);
  Check(PQstatus(connection) == CONNECTION_OK, "PQconnectdb");
  Check(PQenterPipelineMode(connection), "PQenterPipelineMode");
  ErrorsInTheMiddle();
  PreparedStatements();
  FlushesAndTransactions();
  ManyErrors();
  Check(PQexitPipelineMode(connection), "PQexitPipelineMode");
  Show(PQexec(connection, "select 'after'"));
  std::printf("\n");
  PQfinish(connection);
  return 0;
}
