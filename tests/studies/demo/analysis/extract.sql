-- One row a patient: who they are, and their asthma reviews in 2024.
-- Patients with a type-one opt-out are left out.
SELECT p.patient_id,
       p.sex,
       p.region,
       2024 - CAST(substr(p.date_of_birth, 1, 4) AS INTEGER) AS age,
       count(e.patient_id) AS reviews
FROM patients AS p
LEFT JOIN events AS e
       ON e.patient_id = p.patient_id
      AND e.code = 'asthma-review'
      AND e.date BETWEEN '2024-01-01' AND '2024-12-31'
WHERE p.has_asthma = 1
  AND p.patient_id NOT IN (SELECT patient_id FROM PatientsWithTypeOneDissent)
GROUP BY p.patient_id
ORDER BY p.patient_id
