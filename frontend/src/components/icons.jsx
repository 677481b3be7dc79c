/** Our own line icons, 24 x 24, drawn with the text colour. Decoration only: the words stand beside them. */

function Icon({ children, className = "icon" }) {
  return (
    <svg className={className} viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.9" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const BellIcon = () => (
  <Icon>
    <path d="M6 9.5a6 6 0 0 1 12 0c0 4.2 1.2 5.6 2 6.5H4c.8-.9 2-2.3 2-6.5z" />
    <path d="M9.8 19.5a2.4 2.4 0 0 0 4.4 0" />
  </Icon>
);
export const CheckIcon = () => (
  <Icon>
    <path d="M5 12.8l4.4 4.4L19 7.4" />
  </Icon>
);
export const CrossIcon = () => (
  <Icon>
    <path d="M6.5 6.5l11 11M17.5 6.5l-11 11" />
  </Icon>
);
export const UnsureIcon = () => (
  <Icon>
    <path d="M8.8 9a3.3 3.3 0 1 1 4.9 2.9c-1.1.6-1.7 1.2-1.7 2.4" />
    <path d="M12 18v.01" />
  </Icon>
);
export const OpenIcon = () => (
  <Icon>
    <circle cx="12" cy="12" r="8" strokeDasharray="3.2 3" />
  </Icon>
);
export const VerifiedIcon = () => (
  <Icon>
    <circle cx="12" cy="12" r="8.5" />
    <path d="M8.4 12.3l2.5 2.5 4.8-5" />
  </Icon>
);
export const RefutedIcon = () => (
  <Icon>
    <circle cx="12" cy="12" r="8.5" />
    <path d="M9.2 9.2l5.6 5.6M14.8 9.2l-5.6 5.6" />
  </Icon>
);
export const InconclusiveIcon = () => (
  <Icon>
    <circle cx="12" cy="12" r="8.5" />
    <path d="M8.5 12h7" />
  </Icon>
);
export const ValidationIcon = () => (
  <Icon>
    <path d="M20 11.2c0 4-3.6 7.2-8 7.2-1 0-2-.2-2.9-.5L4.5 19.5l1.3-3.6A6.7 6.7 0 0 1 4 11.2C4 7.2 7.6 4 12 4s8 3.2 8 7.2z" />
    <path d="M9 11.3l2.2 2.2 4-4.2" />
  </Icon>
);
export const ConsensusIcon = () => (
  <Icon>
    <circle cx="12" cy="12" r="8.5" />
    <circle cx="12" cy="12" r="4.3" />
    <path d="M12 12v.01" />
  </Icon>
);
export const BadgeIcon = () => (
  <Icon>
    <circle cx="12" cy="9.2" r="5.2" />
    <path d="M8.6 13.6L7.2 20.5l4.8-2.6 4.8 2.6-1.4-6.9" />
  </Icon>
);
export const TrustIcon = () => (
  <Icon>
    <path d="M3.5 16.5l5.5-5.5 3.8 3.8 7.7-7.8" />
    <path d="M15.5 6.8h5v5" />
  </Icon>
);
export const SystemIcon = () => (
  <Icon>
    <circle cx="12" cy="12" r="8.5" />
    <path d="M12 11.2v5M12 8v.01" />
  </Icon>
);
export const ClaimsIcon = () => (
  <Icon>
    <path d="M5 5.5h14M5 12h14M5 18.5h8" />
  </Icon>
);
export const LeaderboardIcon = () => (
  <Icon>
    <path d="M5 20v-7M12 20V4.5M19 20v-10" />
  </Icon>
);
export const PlusIcon = () => (
  <Icon>
    <path d="M12 5v14M5 12h14" />
  </Icon>
);
export const LinkIcon = () => (
  <Icon>
    <path d="M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1.2 1.2" />
    <path d="M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1.2-1.2" />
  </Icon>
);
export const UserIcon = () => (
  <Icon>
    <circle cx="12" cy="8.5" r="4" />
    <path d="M4.5 20c.9-3.8 3.9-5.6 7.5-5.6s6.6 1.8 7.5 5.6" />
  </Icon>
);
export const Logo = () => (
  <svg className="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <rect className="logo-ground" width="32" height="32" rx="8" />
    <path className="logo-mark" d="M7 10.5l6.2 12.2c.9 1.7 3.3 1.6 4-.2L20 15h3.5c.6 0 .9-.7.5-1.1L18.6 7.6c-.4-.5-1.3-.2-1.2.5l.6 4.4h-1.3l-2 5.2L10.9 9z" />
  </svg>
);

export const TYPE_ICONS = {
  validation_received: ValidationIcon,
  consensus_reached: ConsensusIcon,
  badge_earned: BadgeIcon,
  trust_score_updated: TrustIcon,
  system: SystemIcon,
};
export const STATUS_ICONS = {
  open: OpenIcon,
  verified: VerifiedIcon,
  refuted: RefutedIcon,
  inconclusive: InconclusiveIcon,
};
export const ACTION_ICONS = { vouch: CheckIcon, dispute: CrossIcon, unsure: UnsureIcon };
