"""The schema of UCI Adult: column names, official categories, what may be missing."""

from __future__ import annotations

from types import MappingProxyType


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


MISSING = "?"
PROTECTED_COLUMN = "sex"
PROTECTED_VALUES = ("Female", "Male")
"""Value of ``sex`` for protected = 0 and protected = 1."""

EDUCATION = _words(
    "Preschool 1st-4th 5th-6th 7th-8th 9th 10th 11th 12th HS-grad Some-college Assoc-voc "
    "Assoc-acdm Bachelors Masters Prof-school Doctorate"
)
"""``education`` in the order of ``education-num``, which is 1 for the first (in every record)."""

COLUMNS = _words(
    "age workclass fnlwgt education education-num marital-status occupation relationship race sex "
    "capital-gain capital-loss hours-per-week native-country"
)
"""The 14 attributes in the order of the official files."""

# The lists, their order and their spelling (Columbia, Trinadad&Tobago, Holand) are those of the
# official description, adult.names.
CATEGORICAL = MappingProxyType(
    {
        "workclass": _words(
            "Private Self-emp-not-inc Self-emp-inc Federal-gov Local-gov State-gov Without-pay "
            "Never-worked"
        ),
        "education": _words(
            "Bachelors Some-college 11th HS-grad Prof-school Assoc-acdm Assoc-voc 9th 7th-8th "
            "12th Masters 1st-4th 10th Doctorate 5th-6th Preschool"
        ),
        "marital-status": _words(
            "Married-civ-spouse Divorced Never-married Separated Widowed Married-spouse-absent "
            "Married-AF-spouse"
        ),
        "occupation": _words(
            "Tech-support Craft-repair Other-service Sales Exec-managerial Prof-specialty "
            "Handlers-cleaners Machine-op-inspct Adm-clerical Farming-fishing Transport-moving "
            "Priv-house-serv Protective-serv Armed-Forces"
        ),
        "relationship": _words("Wife Own-child Husband Not-in-family Other-relative Unmarried"),
        "race": _words("White Asian-Pac-Islander Amer-Indian-Eskimo Other Black"),
        "sex": PROTECTED_VALUES,
        "native-country": _words(
            "United-States Cambodia England Puerto-Rico Canada Germany "
            "Outlying-US(Guam-USVI-etc) India Japan Greece South China Cuba Iran Honduras "
            "Philippines Italy Poland Jamaica Vietnam Mexico Portugal Ireland France "
            "Dominican-Republic Laos Ecuador Taiwan Haiti Columbia Hungary Guatemala Nicaragua "
            "Scotland Thailand Yugoslavia El-Salvador Trinadad&Tobago Peru Hong "
            "Holand-Netherlands"
        ),
    }
)
"""Official categories of each categorical column, in the official order, without ``?``."""

CONTINUOUS = tuple(column for column in COLUMNS if column not in CATEGORICAL)
"""The six integer columns."""

MAY_BE_MISSING = ("workclass", "occupation", "native-country")
"""The columns in which the official files have ``?``."""
