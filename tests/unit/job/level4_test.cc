#include <gtest/gtest.h>
// jpeglib.h needs what <cstdio> declares.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
// clang-format on
#include <zlib.h>

#include "base/subprocess.h"
#include "job/csv_sniff.h"
#include "unit/job/level4_fixture.h"

namespace carrel {
namespace {

class Level4Test : public Level4Fixture {};

std::string Repeat(int times, const std::string& text) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

// `header`, then `rows` lines in which "#" is the number of the line.
std::string Rows(int rows, const std::string& row, const std::string& header = "") {
  std::string all = header;
  for (int i = 1; i <= rows; ++i) {
    std::string line = row;
    for (size_t at; (at = line.find('#')) != std::string::npos;)
      line.replace(at, 1, std::to_string(i));
    all += line;
  }
  return all;
}

const char kIdentifiers[] = "patient identifiers";

TEST_F(Level4Test, TypesByNameFailClosed) {
  for (const char* name : {"a.csv", "a.CSV", "a.Txt", "a.log", "a.md"}) Passes(name, "a,b\n1,2\n");
  for (const char* name : {"a.csv.gz", "a.feather", "a.dta", "a.rds", "a.pdf", "a", ".csv", "a.",
                           "a.csv ", "a.csv/b", "a.cs\xc3\xa9"})
    Withheld(name, "a,b\n1,2\n", "not permitted");
  rules_.file_types = {".csv", ".pdf"};
  Withheld("a.txt", "x", "not permitted");
  Withheld("a.pdf", "%PDF-1.4", "no check");
}

TEST_F(Level4Test, Size) {
  rules_.max_filesize = 10;
  Passes("a.txt", "0 456789 x");
  Withheld("a.txt", "0 456789 xy", "11 bytes");
}

TEST_F(Level4Test, RowsAreCounted) {
  rules_.max_csv_rows = 100;
  const Level4Verdict verdict = Verdict("a.csv", Rows(100, "#,x,y\n", "n,b,c\n"));
  EXPECT_EQ(verdict.refusal, std::nullopt);
  EXPECT_EQ(verdict.row_count, 100);
  EXPECT_EQ(verdict.col_count, 3);
  for (const char* end : {"\n", "\r\n", "\r"}) {
    Passes("a.csv", Rows(100, std::string("#,x") + end, std::string("n,b") + end));
    Withheld("a.csv", Rows(101, std::string("#,x") + end, std::string("n,b") + end), "101 rows");
  }
  for (const char* row : {"#;x\n", "#\tx\n", "#|x\n", "\"#\",\"x\"\n", "#\n"})
    Withheld("a.csv", Rows(101, row, "header\n"), "101 rows");
  Withheld("a.csv", Rows(101, "#,x", "a,b") + "\n" + Rows(101, "#,x\n"), "rows");
}

TEST_F(Level4Test, QuotedNewlinesAreNotRows) {
  rules_.max_csv_rows = 100;
  const Level4Verdict verdict =
      Verdict("a.csv", Rows(90, "#,\"a remark\nof two \"\"lines\"\"\"\n", "n,remark\n"));
  EXPECT_EQ(verdict.refusal, std::nullopt);
  EXPECT_EQ(verdict.row_count, 90);
}

TEST_F(Level4Test, QuotesDoNotHideRows) {
  rules_.max_csv_rows = 100;
  const std::string rows = Rows(200, "#,23,1970-01-01\n");
  Withheld("a.csv", "a,b,\"c\n" + rows, "quote in it never ends");
  Withheld("a.csv", "a,b,\"c\n" + rows + "\"\n", "rows");
  Withheld("a.csv", "a;\"b\n" + rows + "\"\n", "rows");
  Withheld("a.csv", "a,\"b\n" + Rows(500, "a line of many words of text\n") + "\"\n", "rows");
}

// mission.md, mistake 3: the same rows under every disguise of it.
TEST_F(Level4Test, IdentifiersInAnySpelling) {
  for (const char* name :
       {"patient_id", "Patient_ID", "PATIENT_ID", "patient id", "PatientId", "patientid",
        "patient-id", "patient.id", " patient_id ", "\"patient_id\"", "'patient_id'",
        "_patient_id_", "nhs_number", "NHS Number", "\xef\xbd\x90\xef\xbd\x81tient_id",
        "pat\xe2\x80\x8bient_id"}) {
    for (const char* delimiter : {",", ";", "\t", "|"}) {
      const std::string d = delimiter;
      const std::string n = name;
      Withheld("a.csv", n + d + "age\n1" + d + "23\n", kIdentifiers);
      Withheld("a.csv", "age" + d + n + d + "sex\n23" + d + "1" + d + "F\n", kIdentifiers);
      Withheld("a.csv", "age" + d + n + "\n23" + d + "1\n", kIdentifiers);
      Withheld("a.csv", "\xef\xbb\xbf" + n + d + "age\n", kIdentifiers);
      Withheld("a.csv", "# made by x\n\n" + n + d + "age\n", kIdentifiers);
      Withheld("a.csv", "Table 1\n" + n + d + "age\n1" + d + "23\n", kIdentifiers);
      for (const char* file : {"a.txt", "a.log", "a.md", "a.html"})
        Withheld(file, n + d + "age\n1" + d + "23\n2" + d + "25\n", kIdentifiers);
      Withheld("a.txt", "some text\n\n" + n + d + "age\r\n1" + d + "23\r\n", kIdentifiers);
    }
    Withheld("a.csv", std::string(name) + "\n1\n2\n", kIdentifiers);
    Withheld("a.txt", std::string(name) + "\n1\n2\n", kIdentifiers);
  }
  Withheld("a.csv", "patient_id,1001,1002,1003,1004,1005,1006,1007,1008\nage,1,2,3,4,5,6,7,8\n",
           kIdentifiers);
  Withheld("a.csv", "x,y\n1,2\npatient_id,age\n9f86d081884c7d659a2feaa0c55ad015,23\n",
           kIdentifiers);
  Withheld("a.csv", "x\n\"pati\nent_id\",age\n1234,23\n", kIdentifiers);
}

TEST_F(Level4Test, PrintedRowsOfPatients) {
  // pandas' head(), R's print of a data frame and of a tibble, Stata's list, Markdown.
  Withheld("a.log", "   patient_id  age sex\n0           1   23   F\n1           2   25   M\n",
           kIdentifiers);
  Withheld("a.log", "  patient_id age\n1        101  23\n2        102  25\n", kIdentifiers);
  Withheld("a.log",
           "   patient_id sex      region  age\n0           4   M  North West   38\n"
           "1           7   M  South East   24\n",
           kIdentifiers);
  Withheld("a.log",
           "# A tibble: 2 x 2\n  patient_id   age\n       <int> <int>\n1        101    23\n",
           kIdentifiers);
  Withheld("a.log",
           "     +------------------+\n     | patient_id   age |\n     |------------------|\n"
           "  1. |        101    23 |\n",
           kIdentifiers);
  Withheld("a.md", "| patient_id | age |\n|---|---|\n| 1 | 23 |\n", kIdentifiers);
  Withheld("a.txt", "{\"patient_id\": 1, \"age\": 3}\n{\"patient_id\": 2, \"age\": 4}\n",
           kIdentifiers);
  Withheld("a.txt", "{'patient_id': [101, 102], 'age': [3, 4]}\n", kIdentifiers);
  Withheld("a.txt", "patient_id=101 age=3\npatient_id=102 age=4\n", kIdentifiers);
}

TEST_F(Level4Test, HonestLogsNameIdentifiers) {
  // dplyr and readr.
  Passes("a.log",
         "Joining, by = \"patient_id\"\nRows: 2467 Columns: 3\n"
         "Delimiter: \",\"\ndbl (2): patient_id, age\n");
  // Stata's codebook.
  Passes("a.log",
         "patient_id\n                  type:  numeric (long)\n"
         "                 range:  [1,20000]                    units:  1\n"
         "         unique values:  2,467                    missing .:  0/2,467\n");
  Passes("a.log", ". codebook patient_id\n  range:  [1,20000]   units:  1\n");
  Passes("a.log", ". count if missing(patient_id)\n  12\n\n. count\n  2,467\n");
  // R's data.table.
  Passes("a.log", "Key: <patient_id>\n   region    n\n1:  East   123\n2:  West   456\n");
  // ehrQL, of a query that it wrote.
  Passes(
      "a.log",
      "   [patients].patient_id AS patient_id,\n   YEAR([patients].birth) AS yob\nFROM patients\n"
      "2026-01-01 10:00:02 [info   ] 0.32 seconds: exec_cpu_ms=10 parse_cpu_ms=0\n"
      "2026-01-01 10:00:02 [info   ] Fetching results: SELECT patient_id FROM [#tmp_1]\n");
  // A row has its number in front, and the column its name: R's write.table.
  Withheld("a.txt", "\"patient_id\"\n\"1\",101\n\"2\",102\n", kIdentifiers);
  Withheld("a.txt", "Rows, by = patient_id\na b c 101\nd e f 102\n", kIdentifiers);
}

TEST_F(Level4Test, HonestFilesPass) {
  // R's colSums(is.na(data)).
  Passes("a.txt", "patient_id        sex        age \n         0          0         12 \n");
  Passes("a.log",
         "2026-08-01 10:00:00,123 INFO joined on patient_id, 100 rows\n"
         "Dropped rows where patient_id is null: 0\nSELECT patient_id, age\nFROM patients\n"
         "columns: patient_id, age, sex\n5 rows\n");
  Passes("a.log",
         " #   Column      Non-Null Count  Dtype\n---  ------      --------------  -----\n"
         " 0   patient_id  100 non-null    int64\n 1   age         100 non-null    int64\n");
  Passes("a.log", "patient_id      int64\nage             int64\ndtype: object\n");
  Passes("a.log", "patient_id    0\nage           5\ndtype: int64\n");
  Passes("a.log",
         "       patient_id         age\ncount  100.000000  100.000000\n"
         "mean    50.500000   44.300000\nstd     29.011492   12.100000\n");
  Passes("a.log", "{'patient_id': dtype('int64'), 'age': dtype('int64')}\n");
  Passes("a.csv", "variable,missing\nage,5\npatient_id,0\nsex,12\nregion,3\n");
  Passes("a.csv", "sex,n\nF,100\nM,95\n");
  Passes("a.csv", "");
  Passes("a.txt", "");
  Passes("a.md",
         "# Report\n\nWe used `patient_id` to join.\n\n| sex | n |\n|---|---|\n| F | 1 |\n");
  Passes("a.log", "\x1b[31mred\x1b[0m progress 10%\r20%\b\b\n");
  Passes("a.html", "<html><body><p>joined on <code>patient_id</code></p></body></html>");
  Passes("a.log", Rows(20000, "2026-08-01 10:00:00,123 INFO step # of the model, loss 0.5\n"));
  Passes("a.log", Rows(20000, "[#]\ttrain-rmse:0.51\ttest-rmse:0.61\n"));
  Passes("a.log", Rows(20000, "Chain 1: Iteration: # / 2000 [ 10%]  (Warmup)\n"));
  Passes("a.log", Rows(20000, "age_group | .0123 .456 1.2 0.03 -.02 .04\n"));
}

TEST_F(Level4Test, TheSameRowsInOtherText) {
  rules_.max_csv_rows = 100;
  for (const char* row : {"#,23,F,1970-01-01\n", "#;23\n", "#\t23\tWhite British\n", "#|F\n",
                          "\"#\" 23 \"M\"\n", "# 23 M\n", "#\n", "P00#,White British\n",
                          "  #.   23   1970-01-01\n", "#,23\r", "| # | 23 | F |\n", "a@b,#,23\n"})
    for (const char* name : {"a.txt", "a.log", "a.md", "a.html"}) {
      Passes(name, Rows(100, row, "Heading\n"));
      Withheld(name, Rows(130, row, "Heading\n"), "more than the 100 rows");
    }
  Withheld("a.txt", Rows(130, "#,", ""), "fields");
  Withheld("a.csv", Rows(130, "#,", ""), "fields");
  Withheld("a.html", "<table>" + Rows(130, "<tr><td>x</td></tr>") + "</table>", "table rows");
  Withheld("a.svg", "<svg>" + Rows(130, "<text>x #</text>") + "</svg>", "labels");
}

TEST_F(Level4Test, MarkupWithIdentifiers) {
  for (const char* cell :
       {"<th>patient_id</th>", "<TH class='x'>Patient ID</TH>", "<td><b>patient</b>_id</td>",
        "<th>patient&#95;id</th>", "<th>\n patient_id\n</th>", "<th>p&#x61;tient_id</th>"})
    Withheld("a.html", std::string("<table><tr>") + cell + "</tr></table>", kIdentifiers);
  Withheld("a.svg", "<svg><text x=\"1\">patient_id</text></svg>", kIdentifiers);
  Withheld("a.html", "<script>x = {\"patient_id\":[1,2,3]}</script>", kIdentifiers);
}

TEST_F(Level4Test, Encodings) {
  const std::string rows = "patient_id,age\n1,23\n";
  std::string wide;
  for (char c : rows) wide += std::string(1, c) + '\0';
  for (const char* name : {"a.csv", "a.txt", "a.json", "a.html", "a.svg", "a.md", "a.log"}) {
    Withheld(name, "\xff\xfe" + wide, "UTF-16");
    Withheld(name, wide, "NUL");
    Withheld(name, "caf\xe9,1\n", "UTF-8");
    Withheld(name, "\xed\xa0\x80", "UTF-8");
    Withheld(name, "\xc0\xaf", "UTF-8");
    Withheld(name,
             "a\xe2\x80\xa8"
             "b",
             "line separators");
  }
  Withheld("a.csv", "a\x1b[1m,b\n", "control");
  Passes("a.csv", "\xef\xbb\xbfname,n\ncaf\xc3\xa9,1\n");
}

std::string Gzip(const std::string& text, const char* comment = nullptr) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  gz_header header{};
  header.comment = reinterpret_cast<Bytef*>(const_cast<char*>(comment));
  deflateSetHeader(&stream, &header);
  std::string out(text.size() + 4096, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

TEST_F(Level4Test, CompressedInDisguise) {
  for (const char* name : {"a.csv", "a.txt", "a.json", "a.html", "a.svg", "a.md", "a.log"}) {
    Withheld(name, Gzip("patient_id\n1\n"), "gzip");
    Withheld(name, "\x28\xb5\x2f\xfd....", "zstd");
    Withheld(name, "PK\x03\x04....", "zip");
    Withheld(name,
             "\xfd"
             "7zXZ",
             "xz");
    Withheld(name, "BZh91AY", "bzip2");
    Withheld(name, "PAR1....", "Parquet");
  }
}

std::string Base64(const std::string& data, size_t line = 0) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < data.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (i + k < data.size() ? static_cast<unsigned char>(data[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k)
      text += i + k > data.size() ? '=' : kDigits[bits >> (18 - 6 * k) & 63];
    if (line > 0 && text.size() % (line + 1) == line) text += '\n';
  }
  return text;
}

TEST_F(Level4Test, Base64) {
  const std::string rows = "patient_id,age\n" + Rows(20, "100#,23\n");
  for (size_t line : {0, 64, 76}) {
    Withheld("a.log", "result: " + Base64(rows, line) + " the end\n", kIdentifiers);
    Withheld("a.txt", Base64(rows, line) + "\nand more words\n", kIdentifiers);
    Withheld("a.md", Base64(Gzip(rows), line), "compressed data in base64");
    Withheld("a.html", "<a href=\"data:text/csv;base64," + Base64(rows, line) + "\">",
             kIdentifiers);
    Withheld("a.json", "{\"x\": \"" + Base64(rows) + "\"}", kIdentifiers);
  }
  rules_.max_csv_rows = 100;
  Withheld("a.txt", Base64(Rows(130, "#,23\n")), "more than the 100 rows");
  Withheld("a.html",
           "<img src=\"data:image/png;base64," + Base64("\x89PNG\r\n\x1a\n" + rows) + "\">",
           "damaged");
  Passes("a.log", "commit " + std::string(64, 'a') + "\n");
}

TEST_F(Level4Test, AByteOrderMarkChangesNothing) {
  const std::string bom = "\xef\xbb\xbf";
  Passes("a.svg", bom + "<svg/>");
  Passes("a.json", bom + "{\"a\": 1}");
  const Level4Verdict verdict = Verdict("a.csv", bom + "\"two\nlines\",b\n1,2\n");
  EXPECT_EQ(verdict.row_count, 1);
  EXPECT_EQ(verdict.col_count, 2);
}

TEST_F(Level4Test, Svg) {
  const std::string svg =
      "<?xml version=\"1.0\"?>\n<!-- x -->\n<!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1.1//EN\" "
      "\"http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd\">\n<svg xmlns=\"x\"><g/></svg>\n";
  Passes("a.svg", svg);
  Passes("a.svg", "<svg><path d=\"" + Rows(20000, "M # 3.5 \nL 4.25 5.5 \n") + "\"/></svg>");
  Withheld("a.svg", "patient,1\n", "not an SVG");
  Withheld("a.svg", svg + "1,2,3\n", "follows");
  Withheld("a.svg", "<!DOCTYPE svg [<!ENTITY a \"x\">]><svg/>", "entities");
  Withheld("a.svg", "<svg><!--\npatient_id,age\n1,23\n--></svg>", kIdentifiers);
  Passes("a.svgz", Gzip(svg));
  Withheld("a.svgz", svg, "not a compressed SVG");
  Withheld("a.svgz", Gzip("patient_id\n1\n"), "not an SVG");
  Withheld("a.svgz", Gzip(svg) + "patient_id", "more than one stream");
  Withheld("a.svgz", Gzip(svg) + Gzip(svg), "more than one stream");
  Withheld("a.svgz", Gzip(svg).substr(0, 60), "damaged");
  Withheld("a.svgz", Gzip(svg, "1,2,3"), "header");
  Withheld("a.svgz", Gzip("<svg>" + std::string(20 << 20, ' ') + "</svg>"), "decompressed");
}

TEST_F(Level4Test, Json) {
  Passes("a.json", "{\"n\": 5, \"x\": [1, NaN, -Infinity], \"s\": \"NaN \\\" patient_id\"}");
  Passes("a.json", "{\"a\": 1}\n{\"a\": 2}\n");
  Withheld("a.json", "{\"patient_id\": 1}", kIdentifiers);
  Withheld("a.json", "{\"x\": [{\"Patient\\u005fID\": 1}]}", kIdentifiers);
  Withheld("a.json", "{\"columns\": [\"patient_id\", \"age\"], \"data\": [[1, 2]]}", kIdentifiers);
  Withheld("a.json", "{\"a\": 1}\n{\"patient_id\": 2}\n", kIdentifiers);
  Withheld("a.json", "{\"t\": \"patient_id,age\\n1,23\\n\"}", kIdentifiers);
  Withheld("a.json", "patient_id,age\n1,2\n", "not valid JSON");
  Withheld("a.json", "{\"a\": 1,}", "not valid JSON");
  Withheld("a.json", "", "not valid JSON");
  Withheld("a.json", std::string(100000, '['), "too deep");
  rules_.max_csv_rows = 100;
  Passes("a.json", "[" + Rows(99, "#,") + "1]");
  Withheld("a.json", "[" + Rows(100, "#,") + "1]", "more than the 100");
  Withheld("a.json", "{" + Rows(100, "\"#\":1,") + "\"x\":1}", "more than the 100");
  Withheld("a.json", Rows(101, "{\"a\":#}\n"), "more than the 100");
  Withheld("a.json", "[[" + Repeat(20, "[" + Repeat(50, "[1,2],") + "1],") + "1]]",
           "more than the");
  Withheld("a.json", "{\"t\": \"" + Rows(130, "#,23\\n") + "\"}", "rows");
}

// Pictures as the tools of the job images write them.
std::string Picture(const std::string& script) {
  auto made = RunChecked({"python3", "-c", script});
  EXPECT_TRUE(made.has_value()) << (made ? "" : made.error().ToString());
  return made ? *made : "";
}

std::string Png(const std::string& chunks = "b''", const std::string& pixels = "raw",
                const std::string& tail = "b''") {
  return Picture(R"(
import struct, sys, zlib
def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
raw = b''.join(b'\0' + bytes(30) for _ in range(10))
data = zlib.compress()" +
                 pixels + R"()
out = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 10, 10, 8, 2, 0, 0, 0))
out += )" + chunks +
                 R"(
out += chunk(b'IDAT', data[:7]) + chunk(b'IDAT', data[7:]) + chunk(b'IEND', b'') + )" +
                 tail + R"(
sys.stdout.buffer.write(out))");
}

TEST_F(Level4Test, Png) {
  const std::string good = Png();
  Passes("a.png", good);
  Passes("a.png", Png("chunk(b'tEXt', b'Software\\0Matplotlib')"));
  Withheld("a.png", good + "patient_id,age\n", "follows the end");
  Withheld("a.png", Png("b''", "raw", "b'x'"), "follows the end");
  Withheld("a.png", Png("chunk(b'tEXt', b'Comment\\0patient_id,age')"), kIdentifiers);
  Withheld("a.png", Png("chunk(b'prVt', bytes(70000))"), "64 KiB");
  Withheld("a.png", Png("b''", "raw + b'more rows'"), "damaged");
  Withheld("a.png", Png("b''", "raw[:-1]"), "damaged");
  Withheld("a.png", Png("b''", "raw) + (b'behind'"), "damaged");
  Withheld("a.png", good.substr(0, good.size() - 1), "damaged");
  Withheld("a.png", "patient_id,age\n1,2\n", "not a PNG");
  Withheld("a.jpg", good, "not a JPEG");
  std::string corrupt = good;
  corrupt[20] ^= 1;
  Withheld("a.png", corrupt, "damaged");
}

// A real picture, as a program that draws would write it.
std::string RealJpeg(bool progressive, int size = 64) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long bytes = 0;
  jpeg_mem_dest(&info, &memory, &bytes);
  info.image_width = info.image_height = static_cast<JDIMENSION>(size);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  if (progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  std::vector<unsigned char> row(static_cast<size_t>(size) * 3);
  for (int y = 0; y < size; ++y) {
    for (size_t x = 0; x < row.size(); ++x) row[x] = static_cast<unsigned char>(x * 7 + y * y * 3);
    JSAMPROW rows[] = {row.data()};
    jpeg_write_scanlines(&info, rows, 1);
  }
  jpeg_finish_compress(&info);
  std::string picture(reinterpret_cast<char*>(memory), bytes);
  jpeg_destroy_compress(&info);
  free(memory);
  return picture;
}

TEST_F(Level4Test, Jpeg) {
  for (bool progressive : {false, true}) {
    const std::string good = RealJpeg(progressive);
    Passes("a.jpg", good);
    Passes("a.jpeg", good);
    Withheld("a.png", good, "not a PNG");
    Withheld("a.jpg", good + "x", "follows the end");
    Withheld("a.jpg", good.substr(0, good.size() - 2), "damaged");
    const std::string end = "\xff\xd9", body = good.substr(2, good.size() - 4);
    const auto with = [&](const std::string& before, const std::string& behind) {
      return "\xff\xd8" + before + body + behind + end;
    };
    Passes("a.jpg", with("", ""));
    const std::string rows = Repeat(200, "patient_id,1975-01-02,F,1\n");
    Withheld("a.jpg", with("", rows), "damaged");
    Withheld("a.jpg", with("", std::string(100'000, '\1')), "damaged");  // more than the pixels
    // Behind the last block of the scan there is room that no decoder reads.
    Withheld("a.jpg", with("", "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20"), "damaged");
    Withheld("a.jpg", with(std::string("\xff\xdb\x00\x43", 4) + rows.substr(0, 65), ""), "damaged");
    Withheld("a.jpg", with(std::string("\xff\xfe\x00\x0cpatient_id", 14), ""), kIdentifiers);
    Withheld("a.jpg", with(Repeat(2, "\xff\xfe\xff\x02" + std::string(0xff00, 'x')), ""), "64 KiB");
    const std::string comment = Rows(200, "#,23,F\n");
    const auto size = static_cast<char>(comment.size() + 2);
    Withheld("a.jpg",
             with("\xff\xfe" + std::string(1, static_cast<char>((comment.size() + 2) >> 8)) +
                      std::string(1, size) + comment,
                  ""),
             "rows");
  }
  const std::string good = RealJpeg(false);
  Withheld("a.jpg", good.substr(0, 20) + "\xff\xd9", "damaged");
}

// A compressed table in the place of the scan of a picture: its markers stuffed, its length
// fitting.
TEST_F(Level4Test, JpegScanIsDecoded) {
  const std::string good = RealJpeg(false, 512);
  const size_t scan = good.find("\xff\xda");
  ASSERT_NE(scan, std::string::npos);
  const size_t data = scan + 2 + 12;
  std::string stuffed;
  for (char c : Gzip(Rows(3000, "#,1975-01-02,F,#\n"))) {
    stuffed += c;
    if (c == '\xff') stuffed += '\0';
  }
  Withheld("a.jpg", good.substr(0, data) + stuffed + "\xff\xd9", "damaged");
  Withheld("a.jpg", good.substr(0, good.size() - 2) + stuffed + "\xff\xd9", "damaged");
  Withheld("a.jpg", good.substr(0, data + (good.size() - data) / 2) + "\xff\xd9", "damaged");
}

TEST_F(Level4Test, WhatStandsBesideAPngIsRead) {
  const std::string rows = "'\\n'.join('%d,23,F' % i for i in range(300)).encode()";
  Withheld("a.png", Png("chunk(b'tEXt', b'Comment\\0' + " + rows + ")"), "rows");
  Withheld("a.png", Png("chunk(b'zTXt', b'Comment\\0\\0' + zlib.compress(" + rows + "))"), "rows");
  Withheld("a.png", Png("chunk(b'zTXt', b'C\\0\\0' + zlib.compress(b'a=1,patient_id=7,' * 99))"),
           kIdentifiers);
  Withheld("a.png", Png("chunk(b'iCCP', b'x\\0\\0' + zlib.compress(bytes(200000)))"),
           "compressed data beside");
  Passes("a.png", Png("chunk(b'zTXt', b'Comment\\0\\0' + zlib.compress(b'made by R'))"));
}

// Rows as people print them, without a number in front and whatever stands between.
TEST_F(Level4Test, RowsWithoutAnIndex) {
  rules_.max_csv_rows = 100;
  const auto people = [](const std::string& separator) {
    const char* sexes[] = {"F", "M"};
    const char* regions[] = {"London", "East", "Wales", "North_West"};
    std::string text = "sex" + separator + "region" + separator + "age\n";
    for (int i = 0; i < 150; ++i)
      text += sexes[i % 2] + separator + regions[i / 3 % 4] + separator +
              std::to_string(20 + i * 7 % 70) + "\n";
    return text;
  };
  for (const char* separator : {" ",
                                "   ",
                                "\t",
                                "~",
                                "^",
                                " ~ ",
                                "::",
                                "*",
                                "@",
                                "&",
                                "\\",
                                "/",
                                "=>",
                                "#",
                                "!",
                                "\xc2\xa6",
                                "\xc2\xb7",
                                "\xe2\x94\x82",
                                "\xe2\x80\xa2",
                                "\xc2\xa0",
                                "\xef\xbc\x8c"})
    for (const char* name : {"words.txt", "a.log", "a.md", "a.html"})
      Withheld(name, people(separator), "more than the 100 rows");
  std::string pairs, labels;
  for (int i = 0; i < 250; ++i) {
    pairs += (i % 2 ? "F " : "M ") + std::to_string(i % 80) + "\n";
    labels += std::string(i % 2 ? "F" : "M") + "," + (i % 3 ? "East" : "London") + ",White\n";
  }
  Withheld("words.txt", pairs, "more than the 100 rows");
  Withheld("words.txt", labels, "more than the 100 rows");
  Withheld("words.txt", Rows(130, "#.5 0.#\n"), "more than the 100 rows");
  Withheld("words.txt", Rows(130, "# "), "fields");
  Withheld("words.txt", Rows(130, "#~"), "fields");
}

TEST_F(Level4Test, IdentifiersBetweenUnusualDelimiters) {
  for (const char* d : {"~", "^", "::", "*", "\xc2\xa6", "\xe2\x94\x82"})
    for (const char* name : {"a.csv", "a.txt", "a.log", "a.md", "a.html"}) {
      const std::string s = d;
      Withheld(name, "patient_id" + s + "age\n101" + s + "23\n", kIdentifiers);
      Withheld(name, "Table 1\nage" + s + "NHS number\n23" + s + "1010101010\n", kIdentifiers);
    }
  Withheld("a.txt", "x\n# patient_id age\n# 101 23\n# 102 24\n", kIdentifiers);
}

// What pandas, matplotlib and a report made of both wrote, byte by byte.
TEST_F(Level4Test, RealOutputsPass) {
  const std::string samples = std::string(CARREL_TEST_DIR) + "/unit/job/samples";
  const UniqueFd directory = *OpenPath(samples, O_RDONLY | O_DIRECTORY);
  const auto names = *ListDir(directory.get());
  EXPECT_GE(names.size(), 11u);
  for (const std::string& name : names) Passes(name, *ReadFile(samples + "/" + name));
  // R: what knitr makes of a table, of printed results and of highlighted code.
  Passes("a.html",
         "<!DOCTYPE html>\n<html><head><title>Report</title><style type=\"text/css\">\n"
         "pre code { white-space: pre; }\n</style></head>\n<body>\n<h1>Report</h1>\n"
         "<pre class=\"r\"><code class=\"hljs\">cohort &lt;- cohort[!is.na(patient_id), ]\n"
         "nrow(cohort)</code></pre>\n<pre><code>## [1] 1200</code></pre>\n"
         "<pre><code>##             Estimate Std. Error z value Pr(&gt;|z|)\n"
         "## (Intercept) -1.20397    0.10206 -11.797   &lt;2e-16 ***\n"
         "## age          0.01823    0.00205   8.893   &lt;2e-16 ***</code></pre>\n"
         "<table class=\"table\">\n <thead>\n  <tr>\n   <th style=\"text-align:left;\"> sex </th>\n"
         "   <th style=\"text-align:right;\"> n </th>\n  </tr>\n </thead>\n<tbody>\n" +
             Rows(100, "  <tr>\n   <td> F </td>\n   <td> # </td>\n  </tr>\n") +
             "</tbody>\n</table>\n</body></html>\n");
  for (const char* text : {"patient_id: 0\nage: 5\n", "`patient_id`\n\nis the key\n",
                           "**patient_id** is the key\n", "patient_id = 5\n"})
    Passes("a.md", text);
}

TEST_F(Level4Test, LogsAreNoTables) {
  Passes("a.log", Rows(9000, "2026-08-01 10:00:00 INFO epoch #\n"));
  Passes("a.log", Rows(9000, "[10:00:00] epoch # loss 0.# accuracy 0.#\n"));
  Passes("a.log", Rows(9000, "Epoch #/9000 - loss: 0.# - val_loss: 0.#\n"));
  Passes("a.log", Rows(9000, "Iteration #: log likelihood = -123.#\n"));
  Passes("a.log", Rows(9000, "Iteration #: log likelihood = -1.#\nfitted model in # steps\n"));
  Passes("a.log", Rows(9000, "\r #%|\xe2\x96\x88\xe2\x96\x88  | #/9000 [00:10<00:12, 4.#it/s]"));
  Passes("a.log", Rows(9000, "Loaded practice number # with a total of many registrations\n"));
  Passes("a.log", Rows(9000, "Warning: step # did not converge, see the manual for advice\n"));
}

TEST_F(Level4Test, RowsInAnyElement) {
  rules_.max_csv_rows = 100;
  for (const char* row :
       {"<div><span>#</span><span>F</span><span>23</span></div>", "<li>#, 23, F</li>",
        "<div><div>#</div><div>23</div></div>", "<p>#&comma;23&Tab;F</p>", "<p># 23 F<br/></p>",
        "<tr>\n<td>#</td>\n<td>23</td>\n</tr>", "<li><b>#</b>,<i>23</i></li>",
        "<x-row><x-cell>#</x-cell><x-cell>23</x-cell></x-row>", "<!-- #,23,F -->",
        "<dd>#</dd><dd>23</dd>", "<option>#;23</option>"}) {
    Passes("a.html", "<html><body>" + Rows(40, row) + "</body></html>");
    Withheld("a.html", "<html><body>" + Rows(130, row) + "</body></html>", "more than the 100");
    Withheld("a.md", Rows(130, row), "more than the 100");
  }
  for (const char* row : {"<!-- #,23,F -->", "<title>#,23</title>", "<desc>#\t23</desc>",
                          "<text><tspan>#</tspan><tspan>23</tspan></text>",
                          "<metadata>#;23;F</metadata>", "<![CDATA[#,23,F]]>"})
    Withheld("a.svg", "<svg>" + Rows(130, row) + "</svg>", "more than the 100");
  Withheld("a.svg", "<svg><path d=\"M 1 2 " + Rows(130, "#,23,F\n") + "\"/></svg>",
           "else than coordinates");
  Withheld("a.svg", "<svg><path d = 'M " + Rows(20, "10101010# 3 ") + "'/></svg>",
           "else than coordinates");
  Withheld("a.svg", "<svg><polyline points=\"the rows of patients\"/></svg>",
           "else than coordinates");
  Withheld("a.html", "<th>patient_id", kIdentifiers);
  Withheld("a.html",
           "<div><span>patient_id</span><span>age</span></div>"
           "<div><span>101</span><span>23</span></div>",
           kIdentifiers);
  Passes("a.html", "<pre><span class=\"n\">patient_id</span> <span>==</span> <span>x</span></pre>");
}

TEST_F(Level4Test, JsonRowsAreSummed) {
  rules_.max_csv_rows = 100;
  const auto part = [](int i) {
    return "[" + Rows(49, "[#,2],") + "[" + std::to_string(i) + ",2]]";
  };
  Passes("a.json", "{\"a\":" + part(1) + ",\"b\":" + part(2) + "}");
  Withheld("a.json", "{\"a\":" + part(1) + ",\"b\":" + part(2) + ",\"c\":" + part(3) + "}",
           "more than the 100");
  Withheld("a.json",
           "[" + Repeat(3, "{\"x\":{" + Rows(49, "\"a#\":{},") + "\"y\":1}},") + "{\"x\":{" +
               Rows(60, "\"b#\":{},") + "\"y\":1}}]",
           "more than the 100");
  Withheld("a.json", Rows(3, "[" + part(1) + "]\n"), "more than the 100");
  // Members of the same names are no rows, and columns are no rows.
  Passes("a.json", "[" + Rows(90, "{\"n\":#,\"ci\":{\"low\":1,\"high\":2}},") + "{\"n\":1}]");
  std::string columns;
  for (int i = 0; i < 30; ++i)
    columns += "\"c" + std::to_string(i) + "\":[" + Rows(99, "#,") + "1],";
  Passes("a.json", "{" + columns + "\"x\":1}");
}

std::string Base85(const std::string& data, const std::string& digits) {
  std::string text;
  for (size_t i = 0; i < data.size(); i += 4) {
    uint64_t bits = 0;
    for (size_t k = 0; k < 4; ++k)
      bits = bits << 8 | (i + k < data.size() ? static_cast<unsigned char>(data[i + k]) : ' ');
    std::string group;
    for (int k = 0; k < 5; ++k, bits /= 85) group.insert(group.begin(), digits[bits % 85]);
    text += group;
  }
  return text;
}

TEST_F(Level4Test, EncodedAtAnyOffset) {
  const std::string rows = "patient_id,age\n" + Rows(20, "100#,23\n");
  const std::string b85 =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
  std::string ascii85;
  for (char c = '!'; c <= 'u'; ++c) ascii85 += c;
  for (const char* junk : {"", "x", "xy", "xyz", "abcd", "AAAAA", "result/of"}) {
    const std::string j = junk;
    Withheld("a.log", j + Base64(rows), kIdentifiers);
    Withheld("a.log", j + Base64(Gzip(rows)), "compressed data in base64");
    Withheld("a.html", "<a href=\"data:x," + j + Base64("words before" + Gzip(rows)) + "\">",
             "compressed data in base64");
    Withheld("a.svg", "<svg><a href=\"" + j + Base64(std::string(300, '\1') + rows) + "\"/></svg>",
             kIdentifiers);
    for (const std::string& digits : {b85, ascii85}) {
      Withheld("a.txt", j + Base85(rows, digits) + "\n", kIdentifiers);
      Withheld("a.md", j + Base85(Gzip(rows), digits) + "\n", "compressed data in base85");
    }
  }
  rules_.max_csv_rows = 100;
  std::string lines;
  for (int i = 0; i < 150; ++i) lines += Base64(std::to_string(1000 + i) + ",23,F,1") + "\n";
  Withheld("a.txt", lines, "more than the 100 rows");
  Passes("a.html", "<img src=\"data:image/png;base64," + Base64(Png()) + "\">");
  Passes("a.html", "<img src=\"data:image/jpeg;base64," + Base64(RealJpeg(false)) + "\">");
}

// Each of these takes a very long time if a check costs the square of a line's length.
TEST_F(Level4Test, HostileTextEndsSoon) {
  const size_t size = 1u << 19;
  const std::string many = Repeat(static_cast<int>(size / 11), "patient_id,");
  for (const std::string& text :
       {"patient_id " + std::string(size, '='), "patient_id " + std::string(size, ':'),
        "x," + many + "\n" + std::string(size / 2, ',') + "\n",
        "patient_id" + std::string(size, '<'), std::string(size, '"') + "patient_id",
        "patient_id" + Repeat(size / 4, "&#x;") + "<th>", "x," + many + many,
        Repeat(size / 16, "patient_id : [(\n"), "patient_id " + Repeat(size / 4, "<th>"),
        "patient_id " + Repeat(size / 2, "&#"), Repeat(size / 4, "<!--"),
        Repeat(size / 8, "<script>"), Repeat(size / 3, " d="), Repeat(size / 2, "x\x9c"),
        Repeat(size / 4, "eJwx"), "patient_id" + Repeat(size / 2, " :")})
    for (const char* name : {"a.txt", "a.html", "a.csv", "a.json", "a.md"}) {
      dir_.Write("file", text.substr(0, rules_.max_filesize));
      const UniqueFd fd = *OpenPath(dir_ / "file", O_RDONLY);
      EXPECT_TRUE(CheckLevel4(fd.get(), name, rules_).has_value());
    }
}

TEST_F(Level4Test, PagesWithLargeLibrariesPass) {
  const std::string script =
      Repeat(5u << 15, "function add(one, other) { return a + b; }\n");  // 6.9 MB
  Passes("a.html", "<html><head><script src=\"data:application/javascript;base64," +
                       Base64(script) + "\"></script></head><body>x</body></html>");
}

TEST_F(Level4Test, NoReasonRepeatsTheContent) {
  for (const char* content : {"patient_id,secretname\n1,2\n", "secretname\xff", "secretname\0x"})
    for (const char* name : {"a.csv", "a.txt", "a.json", "a.svg", "a.png", "a.html"})
      EXPECT_EQ(Reason(name, content).find("secretname"), std::string::npos);
}

TEST_F(Level4Test, WhatCannotBeReadIsWithheld) {
  const UniqueFd fd = *OpenPath(dir_ / "x.txt", O_WRONLY | O_CREAT, 0600);
  ASSERT_TRUE(WriteAll(fd.get(), "x").has_value());
  EXPECT_NE(Level4Refusal(fd.get(), "x.txt", rules_).value_or("").find("could not be read"),
            std::string::npos);
}

TEST(CsvSniff, Shape) {
  EXPECT_EQ(SniffCsv("a;b;c\n1;2;3\n").delimiter, ';');
  EXPECT_EQ(SniffCsv("a;b;c\n1;2;3\n").columns, 3);
  EXPECT_EQ(SniffCsv("a,b\n\n\n1,2\n \n").rows, 1);
  EXPECT_EQ(SniffCsv("a,b\n1,\"x\r\ny\"\r\n2,z").rows, 2);
  EXPECT_EQ(SniffCsv("").rows, 0);
  EXPECT_EQ(SniffCsv("\"\"").rows, 0);
}

}  // namespace
}  // namespace carrel
