// One name of a header, as the generated tables hold them. Plain C. A table ends with a null name.
#ifndef CARREL_AUDIT_TABLES_FLAG_TABLE_H_
#define CARREL_AUDIT_TABLES_FLAG_TABLE_H_

struct carrel_flag {
  unsigned long long value;
  const char* name;
};

#endif  // CARREL_AUDIT_TABLES_FLAG_TABLE_H_
