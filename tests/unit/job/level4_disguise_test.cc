// Patient-level rows under names, between separators and in encodings that carrel's authors met
// late; and the files of honest tools that look like them. See also level4_test.cc.
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>

#include "base/subprocess.h"
#include "job/identifier_names.h"
#include "job/level4_runs.h"
#include "unit/job/level4_fixture.h"

namespace carrel {
namespace {

class Level4DisguiseTest : public Level4Fixture {};

const char kNamesPatients[] = "patient identifiers";

std::string PatientRows(const std::string& separator = ",", const std::string& end = "\n",
                        const std::string& name = "patient_id") {
  std::string rows = name + separator + "sex" + separator + "age" + end;
  for (int i = 0; i < 60; ++i)
    rows += std::to_string(18134063 + 7919 * i) + separator + (i % 3 ? "F" : "M") + separator +
            std::to_string(20 + i * 7 % 70) + end;
  return rows;
}

TEST_F(Level4DisguiseTest, NamesOfIdentifiers) {
  for (const char* name : {"pseudo_patient_id",
                           "patient_id_x",
                           "PatientIdentifier",
                           "tpp_patient_id",
                           "patientID1",
                           "hashed_patient_id",
                           "Pseudo Patient ID",
                           "patient_id (hashed)",
                           "person_id",
                           "PersonId",
                           "participant_id",
                           "p\u0430tient_id",
                           "\u0440\u0430tient_id",
                           "pat\u00edent_id",
                           "patient_\u0131d",
                           "\U0001d429atient_id",
                           "pat\u00adient_id",
                           "patie\u043ft_id",
                           "p\u0251tient_id",
                           "\u1d18\u1d00\u1d1b\u026a\u1d07\u0274\u1d1b_\u026a\u1d05"}) {
    EXPECT_TRUE(IsPatientIdentifier(name)) << name;
    EXPECT_TRUE(MentionsPatientIdentifier(name)) << name;
    for (const char* file : {"a.csv", "a.txt", "a.html"})
      Withheld(file, PatientRows(",", "\n", name), kNamesPatients);
    Withheld("a.json", "[{\"" + std::string(name) + "\": 1}]", kNamesPatients);
  }
}

TEST_F(Level4DisguiseTest, NamesOfNumbersOfIdentifiers) {
  for (const char* name :
       {"patient_id_count", "n_patient_id", "missing_patient_id", "unique_patient_ids", "patients",
        "patient", "joined on patient_id", "NHS_North_West", "total persons", "person",
        "patient_idea", "nhs_number_missing", "outpatient_index", "covid", "id"}) {
    EXPECT_FALSE(IsPatientIdentifier(name)) << name;
    Passes("a.csv", "sex," + std::string(name) + "\nF,1024\nM,2048\n");
  }
}

// Each byte as a variation selector, as a tag, as eight characters of no width.
TEST_F(Level4DisguiseTest, WhatCannotBeSeen) {
  std::string selectors = "# Results\n\nAll is well.", tags = selectors, widths = selectors;
  for (const char c : PatientRows()) {
    const auto byte = static_cast<unsigned char>(c);
    selectors += "\xf3\xa0";
    selectors += static_cast<char>(0x84 + byte / 64);
    selectors += static_cast<char>(0x80 + byte % 64);
    tags += "\xf3\xa0";
    tags += static_cast<char>(0x80 + byte / 64);
    tags += static_cast<char>(0x80 + byte % 64);
    for (int bit = 0; bit < 8; ++bit) widths += (byte >> bit & 1) != 0 ? "\u200b" : "\u200c";
  }
  std::string emoji;
  for (int i = 0; i < 1500; ++i) emoji += "step \u2714\ufe0f \U0001f468\u200d\U0001f52c is done\n";
  for (int i = 0; i < 500; ++i) emoji += "epi\u00addemio\u00adlogy of a.\u200bb\n";
  for (const char* file : {"a.md", "a.txt", "a.html"}) {
    for (const std::string& text : {selectors, tags, widths})
      Withheld(file, text, "cannot be seen");
    Passes(file, emoji);
  }
}

TEST_F(Level4DisguiseTest, DigitsOfOtherScripts) {
  for (const char* zero : {"\u0660", "\uff10", "\u0966", "\u2080", "\U0001d7ce"}) {
    std::string rows;
    for (int i = 0; i < 6000; ++i) {
      for (const char digit : std::to_string(18134063 + 7919 * i)) {
        std::string as = zero;
        as.back() = static_cast<char>(as.back() + (digit - '0'));
        rows += as;
      }
      rows += i % 3 ? " F\n" : " M\n";
    }
    for (const char* file : {"a.txt", "a.log", "a.md"}) Withheld(file, rows, "rows");
  }
}

TEST_F(Level4DisguiseTest, NamesBelowAndBehindOtherText) {
  const std::string rows = PatientRows();
  const size_t end = rows.find('\n') + 1;
  for (const char* file : {"a.csv", "a.txt", "a.html"})
    Withheld(file, rows.substr(end) + rows.substr(0, end), kNamesPatients);
  Withheld("a.html", "<html><script>const rows = `" + rows + "`;</script></html>", kNamesPatients);
  Passes("a.log", "columns: patient_id, sex, age\n12, 13, 14\nDone\n");
  Passes("a.log", "columns: patient_id, sex\n2026-08-01 10:00:00, 60 rows are here now\n");
}

TEST_F(Level4DisguiseTest, ListsAndAttributes) {
  std::string lists, lines, attributes = "<html><body>";
  for (int i = 0; i < 60; ++i) {
    const std::string id = std::to_string(18134063 + 7919 * i), age = std::to_string(20 + i);
    lists += (i > 0 ? ", (" : "(") + id + ", " + age + ")";
    lines += "[\"F\", " + id + "],\n";
    attributes += "<i data-patient-id=\"" + id + "\"></i>";
  }
  for (const char* file : {"a.txt", "a.md", "a.html"}) {
    Withheld(file, "INSERT INTO t (patient_id, age) VALUES " + lists + ";\n", kNamesPatients);
    Withheld(file, "columns = ['sex', 'patient_id']\ndata = [\n" + lines + "]\n", kNamesPatients);
  }
  Withheld("a.html", attributes + "</body></html>", kNamesPatients);
  std::string log = "merged on (patient_id, date)\n";
  for (int i = 0; i < 60; ++i)
    log += "a step of many, with what it does\nand more\n\n1\n2\n3\nshape (12345, 14) now\n";
  Passes("a.log", log);
  Passes("a.log", "unique patient_id = 18134063\nall of patient_id = 18134063\n");
}

TEST_F(Level4DisguiseTest, IdsOfNestedPatients) {
  Withheld("a.json", R"([{"patient": {"id": 18134063}}])", kNamesPatients);
  Withheld("a.json", R"({"Patient": [{"sex": "F", "ID": 18134063}]})", kNamesPatients);
  Passes("a.json", R"({"patient": {"count": 5}, "a": {"id": 5}})");
  Passes("a.json", R"({"nhs": {"number": 120}, "id": 7})");
}

TEST_F(Level4DisguiseTest, AnySeparator) {
  for (const char* separator : {"-", "<", ">", "(", "[", "{", "'", ".", "\u00b0", "\u2192",
                                "\u2014", "\u20ac", "\U0001f600", "\u2063", "\u3164", "\u2800"})
    for (const char* file : {"a.csv", "a.txt", "a.log", "a.md"})
      Withheld(file, PatientRows(separator), kNamesPatients);
  // A whole table in one line.
  for (const char* end : {" ; ", " / ", " | "})
    for (const char* file : {"a.txt", "a.md", "a.html"})
      Withheld(file, PatientRows(",", end), kNamesPatients);
}

std::string Encoded(const std::string& data, const std::string& digits, unsigned bits) {
  std::string text;
  uint32_t pending = 0;
  unsigned count = 0;
  for (char c : data)
    for (pending = pending << 8 | static_cast<unsigned char>(c), count += 8; count >= bits;
         count -= bits)
      text += digits[pending >> (count - bits) & ((1u << bits) - 1)];
  if (count > 0) text += digits[pending << (bits - count) & ((1u << bits) - 1)];
  return text;
}

std::string Grouped(const std::string& text, size_t width, const std::string& before,
                    const std::string& between) {
  std::string grouped;
  for (size_t i = 0; i < text.size(); i += width)
    grouped += (i == 0 ? "" : between) + before + text.substr(i, width);
  return grouped;
}

const char kBase64Digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const char kBase32Digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

// One member of gzip's, by zlib's own one-shot.
std::string Compressed(const std::string& text) {
  uLongf size = compressBound(text.size());
  std::string out(size, '\0');
  compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(text.data()),
           text.size());
  out.resize(size);
  return out;
}

TEST_F(Level4DisguiseTest, EveryEncoding) {
  for (const auto& [data, why] :
       {std::pair<std::string, std::string>{PatientRows(), kNamesPatients},
        {Compressed(PatientRows()), "compressed data"}}) {
    const std::string hex = Encoded(data, "0123456789abcdef", 4);
    const std::string base64 = Encoded(data, kBase64Digits, 6);
    std::string decimal;
    for (char c : data) decimal += std::to_string(static_cast<unsigned char>(c)) + ", ";
    for (const std::string& text :
         {hex, Encoded(data, "0123456789ABCDEF", 4), Grouped(hex, 2, "", " "),
          Grouped(hex, 2, "", ":"), Grouped(hex, 2, "0x", ", "), Grouped(hex, 2, "\\x", ""),
          Grouped(hex, 32, "", "\n"), Grouped(hex, 32, "    \"", "\"\n"),
          Encoded(data, kBase32Digits, 5), Encoded(data, "01", 1), Grouped(base64, 76, "", " "),
          Grouped(base64, 32, "", "\n"), Grouped(base64, 60, "\"", "\"\n"), decimal,
          Encoded(base64, kBase64Digits, 6), Encoded(hex, kBase64Digits, 6),
          Encoded(base64, "0123456789abcdef", 4)})
      for (const char* file : {"a.txt", "a.log", "a.md", "a.html"})
        Withheld(file, "Result of the model\n" + text + "\nthe end\n", why);
  }
  std::string wide;  // UTF-16
  for (char c : PatientRows()) wide += std::string(1, c) + '\0';
  Withheld("a.txt", Encoded(wide, kBase64Digits, 6), kNamesPatients);
}

TEST_F(Level4DisguiseTest, Escapes) {
  std::string url, program, uu = "begin 644 rows.csv\n";
  for (char c : PatientRows()) {
    url += c == ',' ? "%2C" : c == '\n' ? "%0A" : std::string(1, c);
    program += c == '\n' ? "\\n" : c == ',' ? "\\u002c" : std::string(1, c);
  }
  for (size_t i = 0; i < PatientRows().size(); i += 45) {
    std::string line = PatientRows().substr(i, 45);
    uu += static_cast<char>(' ' + line.size());
    line.resize((line.size() + 2) / 3 * 3, '\0');
    for (char c : Encoded(line, kBase64Digits, 6))
      uu += static_cast<char>(' ' + std::string_view(kBase64Digits).find(c));
    uu += '\n';
  }
  for (const char* file : {"a.txt", "a.log", "a.md"}) {
    Withheld(file, "see data:text/csv," + url + "\n", kNamesPatients);
    Withheld(file, "'" + program + "'\n", kNamesPatients);
    Withheld(file, uu + "`\nend\n", kNamesPatients);
  }
  Withheld("a.html", "<p><a href=\"data:text/csv;charset=utf-8," + url + "\">x</a></p>",
           kNamesPatients);
  Withheld("a.html", "<p>\"" + program + "\"</p>", kNamesPatients);
  Withheld("a.svg", "<svg><a href='data:text/csv," + url + "'/></svg>", kNamesPatients);
  std::string bytes = "b'";
  for (char c : Compressed(PatientRows())) {
    char escape[8];
    snprintf(escape, sizeof escape, "\\x%02x", static_cast<unsigned char>(c));
    bytes += c >= 0x20 && c != '\\' ? std::string(1, c) : c == '\\' ? "\\\\" : escape;
  }
  Withheld("a.log", bytes + "'\n", "compressed data in escapes");
}

std::string Rot(const std::string& text, int by) {
  std::string turned = text;
  for (char& c : turned)
    if (const char base = c >= 'a' && c <= 'z' ? 'a' : 'A'; c >= base && c < base + 26)
      c = static_cast<char>(base + (c - base + by) % 26);
  return turned;
}

TEST_F(Level4DisguiseTest, LettersInAnotherPlace) {
  const std::string rows = PatientRows();
  std::string lines;
  for (size_t at = 0, end; (end = rows.find('\n', at)) != std::string::npos; at = end + 1)
    lines += std::string(rows.rend() - static_cast<std::ptrdiff_t>(end),
                         rows.rend() - static_cast<std::ptrdiff_t>(at)) +
             "\n";
  for (const std::string& text :
       {Rot(rows, 13), Rot(rows, 3), std::string(rows.rbegin(), rows.rend()), lines, Rot(lines, 13),
        Rot(PatientRows(";", "\n", "NHS number"), 13)})
    for (const char* file : {"a.csv", "a.txt", "a.md", "a.log", "a.html"})
      Withheld(file, text, kNamesPatients);
  std::string many;
  for (int by = 1; by < 26; ++by) many += Rot("patient_id", by) + "\n";
  Withheld("a.txt", many, "several ciphers");
  Passes("a.txt", "the word cngvrag_vq is patient_id in rot13, di_tneitap turned round\n");
}

TEST_F(Level4DisguiseTest, LettersBetweenTheFields) {
  for (const char* letter : {"x", "q", "Z"})
    for (const char* file : {"a.csv", "a.txt", "a.log", "a.md"})
      Withheld(file, PatientRows(letter), kNamesPatients);
  Passes("a.txt", "missing_patient_id\n12345\nwithout_patient_id_or_sex\n234 of 5678\n");
  Passes("a.txt", "Column patient_id\n12345\n67x89\n");
}

TEST_F(Level4DisguiseTest, ThePatid) {
  for (const char* name : {"patid", "PATID", "pat_id", "cprd_patid"})
    for (const char* file : {"a.csv", "a.txt"})
      Withheld(file, PatientRows(",", "\n", name), kNamesPatients);
  Passes("a.csv", "n_patid,missing_patid\n1024,12\n");
  Passes("a.csv", "compatid,sex\n1024,F\n");
}

// `data` as a raw stream of deflate's, without header or checksum.
std::string Deflated(const std::string& data, int level) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, level, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, data.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string Tool(const std::vector<std::string>& argv, const std::string& input) {
  SubprocessOptions options;
  options.input = input;
  auto result = RunChecked(argv, options);
  EXPECT_TRUE(result.has_value()) << argv[0];
  return result.value_or("");
}

TEST_F(Level4DisguiseTest, ShortPackedData) {
  for (int level : {1, 9}) {
    const std::string packed = Deflated(PatientRows(), level);
    ASSERT_LT(packed.size(), 2000u);
    for (const std::string& text :
         {Encoded(packed, kBase64Digits, 6), Encoded(packed, "0123456789abcdef", 4),
          Encoded(packed, kBase32Digits, 5)})
      Withheld("a.txt", "data: " + text + "\n", kNamesPatients);
    std::string list;
    for (char c : packed) list += std::to_string(static_cast<unsigned char>(c)) + ", ";
    Withheld("a.txt", "[" + list + "]\n", kNamesPatients);
  }
  const std::string lzma = Tool({"xz", "--format=lzma", "--stdout"}, PatientRows());
  ASSERT_LT(lzma.size(), 2000u);
  Withheld("a.txt", Encoded(lzma, kBase64Digits, 6) + "\n", "compressed data in base64");
  Withheld("a.txt", Encoded(lzma, "0123456789abcdef", 4) + "\n", "compressed data in hexadecimal");
}

// As `xxd` writes it; `hexdump -C` has a blank more in the middle, and bars.
std::string Dump(const std::string& data, size_t group, bool colon, bool text) {
  std::string dump;
  for (size_t at = 0; at < data.size(); at += 16) {
    char number[16];
    snprintf(number, sizeof number, colon ? "%08zx:" : "%07zx", at);
    dump += number;
    const std::string line = data.substr(at, 16);
    for (size_t i = 0; i < line.size(); ++i) {
      snprintf(number, sizeof number, "%02x", static_cast<unsigned char>(line[i]));
      dump += (i % group == 0 ? " " : "") + std::string(number);
    }
    std::string shown = line;
    std::replace(shown.begin(), shown.end(), '\n', '.');
    dump += (text ? "  " + shown : "") + "\n";
  }
  return dump;
}

TEST_F(Level4DisguiseTest, Dumps) {
  const std::string rows = PatientRows();
  std::string swapped = rows + (rows.size() % 2 == 0 ? "" : " ");
  for (size_t i = 0; i < swapped.size(); i += 2) std::swap(swapped[i], swapped[i + 1]);
  for (const std::string& dump :
       {Dump(rows, 2, true, true), Dump(rows, 1, true, true), Dump(rows, 4, true, true),
        Dump(rows, 1, false, false), Dump(swapped, 2, false, false)})
    for (const char* file : {"a.txt", "a.log", "a.md", "a.html"})
      Withheld(file, dump, kNamesPatients);
  Passes("a.txt", Dump("Only a text, and no more than that.\n", 2, true, true));
}

TEST_F(Level4DisguiseTest, QuotedPrintable) {
  std::string all, some;
  for (char c : PatientRows()) {
    char escape[8];
    snprintf(escape, sizeof escape, "=%02X", static_cast<unsigned char>(c));
    all += escape;
    if (all.size() % 75 == 0) all += "=\n";
    some += c == ',' || c == '\n' || c == '_' ? std::string(escape) : std::string(1, c);
    if (some.size() % 60 == 0) some += "=\r\n";
  }
  for (const std::string& text : {all, some})
    for (const char* file : {"a.txt", "a.log", "a.md"}) Withheld(file, text + "\n", kNamesPatients);
  std::string log;
  for (int i = 0; i < 6000; ++i)
    log += "epoch " + std::to_string(i) + " step=" + std::to_string(20 + i % 60) +
           " loss=" + std::to_string(31 + i % 9) + "\n";
  Passes("a.log", log);
}

TEST_F(Level4DisguiseTest, LongRunsThatNothingKnows) {
  std::string noise;
  for (uint32_t i = 0, state = 1; i < 3000; ++i, state = state * 1664525u + 1013904223u)
    noise += static_cast<char>(state >> 24);
  Withheld("a.txt", Encoded(noise, kBase64Digits, 6), "a long run of data in base64");
  Withheld("a.log", Encoded(noise, "0123456789abcdef", 4), "a long run of data in hexadecimal");
  Passes("a.html", "<script>x=\"" + Encoded(noise, kBase64Digits, 6) + "\"</script>");
  Passes("a.txt", Encoded(noise.substr(0, 256), kBase64Digits, 6) + "\n");
}

// R Markdown's page has DEL in the strings of highlight.js, Plotly's has \x1a and \x01.
TEST_F(Level4DisguiseTest, ScriptsOfPages) {
  const std::string page =
      "<html><script>x=/[a-zA-Z_\x7f-\xc3\xbf]*/;y=\"\\x89PNG\\r\\n\x1a\\n\";z=\"\\0\x01\"</"
      "script></html>";
  Passes("a.html", page);
  Withheld("a.txt", page, "control");
  Withheld("a.svg", "<svg><script>\x01</script></svg>", "control");
  Withheld("a.html", page + std::string(14, '\x1f'), "control");
  Withheld("a.html", page + std::string(1, '\0'), "NUL");
}

TEST_F(Level4DisguiseTest, HonestRuns) {
  std::string sums, rules, pixels;
  for (int i = 0; i < 200; ++i) {
    sums += Encoded(std::string(32, static_cast<char>(i * 37)), "0123456789abcdef", 4) +
            "  output/file_" + std::to_string(i) + ".csv\n";
    rules +=
        std::string(80, '-') + "\n" + std::string(80, '=') + "\n" + std::string(90, '_') + "\n";
    pixels += std::to_string(i * 37 % 256) + ",";
  }
  Passes("sums.txt", sums);
  Passes("rules.log", rules);
  Passes("a.html", "<script>colours=[" + pixels + "0]</script>");
  Passes("a.txt", "\u22120.5 to 1.5 \u2014 don\u2019t \u2705 12 of 15\n");
  Passes("a.md", "- \U0001f389 done\n- \u274c failed: patient_id missing in 5 of 12\n");
}

TEST(Level4Runs, GroupsThatBelongTogether) {
  const Encoding& hex = Encodings()[2];
  const auto runs = [&](std::string_view text) {
    std::string found;
    EXPECT_EQ(ForEachRun(text, hex.digits, 1,
                         [&](const Digits& run) -> Refusal {
                           found += std::to_string(run.size()) + " ";
                           return std::nullopt;
                         }),
              std::nullopt);
    return found;
  };
  EXPECT_EQ(runs("0a0b 0c0d 0e0f"), "12 ");
  EXPECT_EQ(runs("0a0b 0c0d 0e"), "10 ");
  EXPECT_EQ(runs("0a0b 0c0d, 0e"), "8 2 ");
  EXPECT_EQ(runs("0a0b0c 0d0e"), "6 4 ");
  EXPECT_EQ(runs("0a0b and so 0c0d"), "4 1 1 4 ");  // a, d
  EXPECT_EQ(runs("0x0a, 0x0b, 0x0c"), "6 ");
  EXPECT_EQ(runs(""), "");
}

TEST(Level4Runs, Escapes) {
  EXPECT_EQ(WithoutEscapes("a%2Cb%0a", '%', 2), "a,b\n");
  EXPECT_EQ(WithoutEscapes("a%2Cb%0a", '%', 3), "");
  EXPECT_EQ(WithoutEscapes("100% of %zz %", '%', 0), "100% of %zz %");
  EXPECT_EQ(WithoutEscapes("\\x41\\u0042\\103\\n\\\\\\", '\\', 1), "ABC\n\\\\");
}

}  // namespace
}  // namespace carrel
