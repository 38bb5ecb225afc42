"""Words before digits that call them a phone number, or something else; the nearest one decides."""

from __future__ import annotations

import re

CALLED = frozenset(
    """
    tel telephone telefon telefono teléfono téléphone telefone phone phones ph phonenumber mobile mob cell cellphone fax
    sms whatsapp dial ring hotline msisdn caller callback call calls called calling handy handynummer mobil mobilnummer
    mobilny rufnummer telefonnummer telefonu telefonszám telefonas telefoni telefón anrufen appelez appeler numéro
    portable móvil celular llame llama llamar llámenos chiama chiamare chiamami cellulare ligue telemóvel bel
    telefoonnummer puhelin puhelinnumero tél tlf tfno mobiltelefon contact
    тел телефон телефона телефону моб мобильный звоните позвоните звони номер
    هاتف الهاتف اتصل جوال رقم फ़ोन फोन मोबाइल טלפון נייד điện thoại τηλ τηλέφωνο
    """.split()  # noqa: SIM905
)
OTHER = frozenset(
    """
    order orders invoice invoices ticket ref reference id ids sku isbn issn doi tracking serial version build rev amount
    total price acct account policy case po port timestamp epoch date commit sha hash uuid zip plz lot batch part item
    imei ean upc gtin vin parcel shipment bestellung bestellnummer pedido commande rechnung factura facture заказ заказа
    token tokens bytes offset session request trace span job run seed model iban
    card ssn seq sequence code ts time until since ms ns us
    """.split()  # noqa: SIM905
)
# Scripts that do not part words.
CALLED_UNPARTED = ("电话", "手机", "致电", "拨打", "電話", "携帯", "連絡先", "전화", "휴대폰", "연락처", "โทร", "फ़ोन")
OTHER_UNPARTED = ("订单", "注文", "주문", "编号", "番号は")
WHOSE = [[word] for word in ("my", "your", "his", "her", "our", "their", "whose", "emergency", "support", "toll")]
WORD = re.compile(r"[a-z\u00c0-\u052f\u1e00-\u1eff]{1,16}+|[^\W\d_\x00-\u052f]{1,16}+")


def is_called(before: str) -> bool | None:
    """Whether what stands before digits calls them a phone number (True) or something else (False)."""
    if not before.isascii():
        if any(word in before for word in CALLED_UNPARTED):
            return True
        if any(word in before for word in OTHER_UNPARTED):
            return False
    words = WORD.findall(before.lower())
    for place in range(len(words) - 1, -1, -1):
        word = words[place]
        if word in CALLED or (word == "number" and words[place - 1 : place] in WHOSE):
            return True
        if word in OTHER:
            return False
    return None
