-- AllowedPatientsWithTypeOneDissent: the numbers that the other studies are compared with.
SELECT (SELECT count(*) FROM patients) AS patients,
       (SELECT count(*) FROM patients
         WHERE patient_id IN (SELECT patient_id FROM PatientsWithTypeOneDissent)) AS opted_out;
